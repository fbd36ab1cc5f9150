"""What other nodes, and this one itself, ask of the controller on this node.

Only the active controller decides; any other node answers who that is, with its address for those
who have no image yet. Who asks for itself is compared with who has proven to be at the other end.
What is decided is answered once it is committed and shown here.

A frame is read at once, since it lies in a buffer; the answer takes as long as it takes.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from cluster.controller.answer_frames import Told, refusal_of
from cluster.controller.answer_frames import encode as encode_answer
from cluster.controller.bootstrap import Answer, Founder, Member
from cluster.controller.brokers import RegisterBroker
from cluster.controller.image import BrokerImage
from cluster.controller.isr import AlterIsr, AnswerForUnclean
from cluster.controller.leadership import TellRecovered
from cluster.controller.producer_ids import AllocateProducerIds
from cluster.controller.proposal_frames import ENCODE as PROPOSALS
from cluster.controller.proposal_frames import ChangeVoters, HandOver
from cluster.controller.proposed_frames import Proposed, outcome_of
from cluster.controller.request import Request
from cluster.controller.request_frames import Asked, AskSeed, BrokerHeartbeat
from cluster.controller.request_frames import decode as decode_request
from cluster.controller.standing import SetStanding
from cluster.peer.forward import encode_refused
from cluster.peer.hello import Hello
from cluster.peer.table import Frame
from cluster.shell.controller_active import ActiveController
from cluster.shell.controller_addresses import peer_address
from cluster.shell.controller_doors import ControllerDoors
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import NodeId

AnswerT = TypeVar("AnswerT")

LEADER: Final = "leader"
HOST: Final = "leader_host"
PORT: Final = "leader_port"
"""Names in the metadata of NOT_LEADER: who is to be asked, and where it is."""


class ControllerService:
    """See the module. Loop only."""

    def __init__(self, doors: ControllerDoors, active: ActiveController) -> None:
        """Answer by this node's quorum."""
        self._doors = doors
        self._quorum = doors.quorum
        self._active = active

    def take(self, peer: Hello, frame: Frame, answer: Callable[[bytes], None] | None) -> None:
        """Take a frame of the controller family: `links.route(Family.CONTROLLER, service.take)`.

        Raises:
            MalformedError: it is none, or one node speaks as another: end the link.
        """
        asked = decode_request(frame)
        check_speaker(peer, asked, frame.type.name)
        if answer is not None:
            work = self._answer(asked, frame.correlation, answer)
            self._doors.spawn.start(work, f"controller {frame.type.name}")

    async def do(self, asked: Asked) -> Told:
        """Do what is asked: of another node by its frame, of this one directly.

        Raises:
            RequestError: refused: NOT_LEADER and NO_QUORUM, *not done*, where this is not the
                active controller; LEADERSHIP_LOST, *unknown*, where it was.
        """
        if isinstance(asked, AskSeed):
            return self._member()
        if isinstance(asked, BrokerHeartbeat):
            return self._active.heard(asked)
        if isinstance(asked, ChangeVoters | HandOver):
            await self._change_quorum(asked)
            return Proposed(self._quorum.image.applied, None)
        answer = await self._propose(asked)
        if type(asked) in PROPOSALS:
            return Proposed(self._quorum.image.applied, outcome_of(answer))
        assert answer is None or isinstance(answer, _TOLD), "CONTROLLER_ANSWERS_ITS_TYPES"
        return answer

    async def _propose(self, request: Request[AnswerT]) -> AnswerT:
        if not self._active.active and not self._quorum.leads:
            raise self._active.elsewhere()
        return await self._quorum.propose(request)

    async def _change_quorum(self, asked: ChangeVoters | HandOver) -> None:
        if isinstance(asked, ChangeVoters):
            await self._quorum.change_voters(asked.add, asked.remove)
        else:
            await self._quorum.transfer_leadership(asked.to)

    def _member(self) -> Answer:
        """Return what a node that knows its quorum answers to who looks for one."""
        voters = self._quorum.configuration.voters
        return Member(self._doors.me.cluster_id, tuple(Founder(*voter) for voter in voters))

    async def _answer(
        self, asked: Asked, correlation: int, answer: Callable[[bytes], None]
    ) -> None:
        try:
            frame = encode_answer(await self.do(asked), correlation=correlation)
        except RequestError as refused:
            refusal = refusal_of(self._with_address(refused))
            frame = encode_refused(refusal, correlation=correlation)
        answer(frame)

    def _with_address(self, refused: RequestError) -> RequestError:
        """Say beside who is to be asked where that is."""
        leader = refused.metadata.get(LEADER)
        if refused.code is not ErrorCode.NOT_LEADER or leader is None:
            return refused
        broker = self._quorum.image.brokers.get(NodeId(int(leader)))
        address = None if broker is None else peer_address(broker)
        if address is None:
            return refused
        more = {**refused.metadata, HOST: address.host, PORT: str(address.port)}
        return RequestError(refused.code, refused.detail, **more)


_TOLD: Final = (BrokerImage, tuple, int) + tuple(
    {type(None)}
)
