"""What is asked of the controller on this node, by other nodes and by this one itself.

Only the one that leads the quorum decides; any other says who does, with its address for those who
have no image yet. What is decided is answered once it is committed and shown here.
"""

from typing import Final

from cluster.controller.answer_frames import Told
from cluster.controller.image import BrokerImage
from cluster.controller.producer_ids import ProducerIds
from cluster.controller.proposal_frames import ENCODE as PROPOSALS
from cluster.controller.proposal_frames import ChangeVoters, HandOver
from cluster.controller.proposed_frames import Proposed, outcome_of
from cluster.controller.request import Request
from cluster.controller.request_frames import Asked, BrokerHeartbeat
from cluster.shell.controller_active import ActiveController
from cluster.shell.controller_addresses import peer_address
from cluster.shell.controller_doors import ControllerDoors
from cluster.shell.controller_votes import change_votes
from model.errors import ErrorCode, RequestError
from model.ids import NodeId

LEADER: Final = "leader"
HOST: Final = "leader_host"
PORT: Final = "leader_port"
"""Names in the metadata of NOT_LEADER: who is to be asked, and where it is."""
_TOLD: Final = (BrokerImage, tuple, int, ProducerIds)


class ControllerService:
    """See the module. Loop only.

    Invariants:
        CONTROLLER_ASKED_OF_MACHINE    what is not a heartbeat is proposed.
        CONTROLLER_ANSWERS_ITS_TYPES   every answer has a frame.
    """

    def __init__(self, doors: ControllerDoors, active: ActiveController) -> None:
        """Answer by this node's quorum."""
        self._quorum = doors.quorum
        self._active = active

    async def do(self, asked: Asked) -> Told:
        """Do what is asked: of another node by its frame, of this one directly.

        Raises:
            RequestError: refused: NOT_LEADER and NO_QUORUM, *not done*, where this is not the
                active controller; LEADERSHIP_LOST, *unknown*, where it was.
        """
        try:
            if isinstance(asked, BrokerHeartbeat):
                return self._active.heard(asked)
            if isinstance(asked, ChangeVoters | HandOver):
                await self._change_quorum(asked)
                return Proposed(self._quorum.image.applied, None)
            return await self._propose(asked)
        except RequestError as refused:
            if refused.code is ErrorCode.NOT_LEADER:
                raise self._with_address(refused) from refused
            raise

    async def _propose(self, asked: Asked) -> Told:
        assert isinstance(asked, Request), "CONTROLLER_ASKED_OF_MACHINE"
        answer: object = await self._quorum.propose(asked)
        if type(asked) in PROPOSALS:
            return Proposed(self._quorum.image.applied, outcome_of(answer))
        assert answer is None or isinstance(answer, _TOLD), "CONTROLLER_ANSWERS_ITS_TYPES"
        return answer

    async def _change_quorum(self, asked: ChangeVoters | HandOver) -> None:
        if isinstance(asked, ChangeVoters):
            await change_votes(self._quorum, asked.add, asked.remove)
        else:
            await self._quorum.transfer_leadership(asked.to)

    def _with_address(self, refused: RequestError) -> RequestError:
        """Say beside who is to be asked where that is."""
        leader = refused.metadata.get(LEADER)
        broker = None if leader is None else self._quorum.image.brokers.get(NodeId(int(leader)))
        address = None if broker is None else peer_address(broker)
        if address is None:
            return refused
        more = {**refused.metadata, HOST: address.host, PORT: str(address.port)}
        return RequestError(refused.code, refused.detail, retry_delay_ms=None, **more)
