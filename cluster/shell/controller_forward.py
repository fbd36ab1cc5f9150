"""The quorum as use cases see it on any node: what they propose is taken to whoever leads (P4).

On the leader nothing is added. Elsewhere a proposal goes to the leader as a frame, and its answer
comes with the entry that shows it: the caller goes on once this node's own image has that entry,
so it reads what it has written. That entry is on a majority by then, and reaches a member that is
heard within a round trip; one that is cut off answers UPSTREAM_LOST, unknown, though it was done.

What did not leave is not done, and is tried again for FORWARD_MS. Once bytes have left, and there
is no answer, nobody knows: it is never sent twice.
"""

from asyncio import Future, get_running_loop
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.port import Listener
from cluster.controller.proposal_frames import ENCODE as PROPOSALS
from cluster.controller.proposal_frames import ChangeVoters, HandOver
from cluster.controller.proposed_frames import Proposed
from cluster.controller.quorum_status import QuorumStatus
from cluster.controller.records import TopicCreated
from cluster.controller.request import Request
from cluster.controller.request_frames import Asked
from cluster.controller.state import MetadataState
from cluster.controller.topics import TopicRemoved
from cluster.shell.controller_calls import ControllerCalls
from cluster.shell.controller_doors import ControllerDoors
from cluster.shell.controller_votes import change_votes, with_withheld
from cluster.shell.raft_waiting import Waiting
from model.errors import ErrorCode, RequestError
from model.ids import Index, MonotonicMs, NodeId

AnswerT = TypeVar("AnswerT")

FORWARD_MS: Final = 1_000
"""For a leader to be found."""
DECIDED_MS: Final = 15_000
"""For its answer; one that is gone is noticed by its link long before."""
VOTERS_MS: Final = 60_000
"""For a change of the quorum, whose new members learn first."""
SHOWN_MS: Final = 5_000
"""For this node to be told of what is committed."""


class ForwardingQuorum:
    """A `cluster.controller.port.QuorumPort` on every node. Loop only."""

    def __init__(
        self, doors: ControllerDoors, calls: ControllerCalls, defaults: Mapping[str, str]
    ) -> None:
        """`defaults`: this node's own for its topics, as `RaftQuorum.open` has them."""
        self._clock = doors.clock
        self._me = doors.me.node
        self._quorum = doors.quorum
        self._links = doors.links
        self._calls = calls
        self._topics = MetadataState(defaults)
        self._waiting = Waiting()
        self._subscribed = False

    @property
    def image(self) -> MetadataImage:
        """The newest committed metadata that this node knows."""
        return self._quorum.image

    @property
    def status(self) -> QuorumStatus:
        """The quorum; who is not at the other end of a link is not heard, whoever leads."""
        status = self._quorum.status
        members = (
            one
            if one.node == self._me or self._links.peer(one.node) is not None
            else one._replace(is_heard=False)
            for one in status.members
        )
        return with_withheld(status._replace(members=tuple(members)), self.image)

    async def propose(self, request: Request[AnswerT]) -> AnswerT:
        """Have a change decided; see `QuorumPort.propose`.

        Raises:
            RequestError: refused by the machine; NO_QUORUM, NODE_UNREACHABLE: nobody decides, or
                the leader is not reached: *not done*. LEADERSHIP_LOST, UPSTREAM_LOST,
                REQUEST_TIMED_OUT: *unknown*.
        """
        if self._quorum.leader == self._me:
            try:
                return await self._quorum.propose(request)
            except RequestError as refused:
                if refused.code is not ErrorCode.NOT_LEADER:
                    raise
        told = await self._asked(cast(Asked, request), timeout_ms=DECIDED_MS)
        if type(request) not in PROPOSALS:
            if isinstance(request, TopicRemoved):  # its answer names no entry
                await self._caught_up()
            return cast(AnswerT, told)
        assert isinstance(told, Proposed), "CONTROLLER_ANSWERS_ITS_TYPES"
        answer: Any = told.outcome
        if isinstance(answer, TopicCreated):
            answer = self._topics.new_image(answer)
        return cast(AnswerT, answer)

    async def read_barrier(self) -> None:
        """Return once `image` holds every change that anybody was told of before this call."""
        await self._quorum.read_barrier()

    def subscribe(self, listener: Listener) -> None:
        """Call for each committed batch from here on; what came before is in `image`."""
        self._quorum.subscribe(listener)

    async def change_voters(self, add: tuple[NodeId, ...], remove: tuple[NodeId, ...]) -> None:
        """Change the quorum's voters by hand, wherever it is led."""
        if self._quorum.leader == self._me:
            await change_votes(self._quorum, add, remove)
        else:
            await self._asked(ChangeVoters(add, remove), timeout_ms=VOTERS_MS)

    async def transfer_leadership(self, to: NodeId) -> None:
        """Hand the quorum's leadership over, whoever has it."""
        if self._quorum.leader == self._me:
            await self._quorum.transfer_leadership(to)
        else:
            await self._asked(HandOver(to), timeout_ms=VOTERS_MS)

    async def _asked(self, asked: Asked, *, timeout_ms: int) -> object:
        """Return the leader's answer once this node's image shows what it speaks of."""
        told = await self._calls.until(
            asked, patience_ms=FORWARD_MS, timeout_ms=timeout_ms, twice=False
        )
        if isinstance(told, Proposed):
            await self._shown(told.applied)
        return told

    async def _caught_up(self) -> None:
        """Wait until this node has all that was decided before.

        Raises:
            RequestError: UPSTREAM_LOST: nobody confirms it, and what was asked for is decided.
        """
        try:
            await self._quorum.read_barrier()
        except RequestError as refused:
            detail = f"it was decided, and is not shown here: {refused.detail}"
            raise RequestError(ErrorCode.UPSTREAM_LOST, detail) from refused

    async def _shown(self, index: Index) -> None:
        """Wait until this node has what was decided.

        Raises:
            RequestError: UPSTREAM_LOST: it is decided, and this node is told nothing any more.
        """
        if self.image.applied >= index:
            return
        if not self._subscribed:
            self._subscribed = True
            self._quorum.subscribe(self._published)
        shown: Future[None] = get_running_loop().create_future()
        self._waiting.add(index, shown, changes=True)

        def late() -> None:
            if not shown.done():
                detail = f"entry {index} was decided, and did not come within {SHOWN_MS} ms"
                shown.set_exception(RequestError(ErrorCode.UPSTREAM_LOST, detail))

        until = MonotonicMs(self._clock.monotonic_ms() + SHOWN_MS)
        cancel = self._clock.call_at(until, late)
        try:
            await shown
        finally:
            cancel()

    def _published(self, image: MetadataImage, delta: MetadataDelta) -> None:
        del delta
        self._waiting.reached(image.applied)
