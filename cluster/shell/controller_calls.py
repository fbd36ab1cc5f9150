"""Finding the active controller and asking it, from any node; what is not done is asked again.

It is asked directly where it is this node. Else it is whom this node's member of the quorum names,
whom a refusal has named, or, before this node is a member or where it is lost, any that may know.

A refusal that says *not done* and may pass (`NOT_LEADER`, `NO_QUORUM`, a node that is not reached)
is no answer while there is time. An outcome that is *unknown* is for the asker to judge: only
what may be said twice is asked again after it.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final

from cluster.controller.answer_frames import Told, error_of
from cluster.controller.answer_frames import decode as decode_answer
from cluster.controller.brokers import RegisterBroker
from cluster.controller.registration import Barrier, RegistrationRefused
from cluster.controller.request_frames import Asked, BrokerHeartbeat
from cluster.controller.request_frames import encode as encode_request
from cluster.peer.forward import CallRefused
from cluster.raft.voters import Voter
from cluster.shell.controller_addresses import PeerAddresses
from cluster.shell.controller_doors import ControllerDoors, pause
from cluster.shell.controller_service import HOST, LEADER, PORT, ControllerService
from cluster.shell.peer_network import Address
from model.errors import ErrorCode, MalformedError, Outcome, RequestError
from model.ids import MonotonicMs, NodeId

AGAIN_MS: Final = 50
"""Until the controller is looked for again."""
PASSING: Final = frozenset(
    {
        ErrorCode.NOT_LEADER,
        ErrorCode.NO_QUORUM,
        ErrorCode.NODE_UNREACHABLE,
        ErrorCode.OVERLOADED,
        ErrorCode.SHUTTING_DOWN,
        ErrorCode.QUORUM_CHANGE_IN_PROGRESS,
    }
)
"""*Not done*, and another node, or the same one a little later, may do it."""


class ControllerCalls:
    """See the module. Loop only."""

    def __init__(
        self, doors: ControllerDoors, service: ControllerService, addresses: PeerAddresses
    ) -> None:
        """Ask by links; `service` is this node's own."""
        self._doors = doors
        self._quorum = doors.quorum
        self._service = service
        self._addresses = addresses
        self._hint: NodeId | None = None
        self._turn = count()

    async def once(self, asked: Asked, *, timeout_ms: int) -> Told:
        """Ask once.

        Raises:
            RequestError: refused, or the outcome is unknown (`code.outcome` tells);
                RegistrationRefused where a registration met its barrier.
        """
        node = self._whom(asked)
        if node == self._doors.me.node:
            return await self._service.do(asked)
        try:
            encode = partial(encode_request, asked)
            frame = await self._doors.links.ask(node, encode, timeout_ms=timeout_ms)
        except RequestError as refused:
            self._learn(refused)
            if isinstance(asked, RegisterBroker) and self._hint == self._doors.me.node:
                raise self._second(refused) from refused
            error = error_of(CallRefused.of(refused))
            raise error if isinstance(error, RegistrationRefused) else refused from refused
        self._hint = node
        try:
            return decode_answer(frame)
        except MalformedError as wrong:
            detail = f"node {node} answered what cannot be read: {wrong}"
            raise RequestError(ErrorCode.UPSTREAM_LOST, detail, node=str(node)) from wrong

    async def until(
        self,
        asked: Asked,
        *,
        patience_ms: int | None,
        timeout_ms: int,
        twice: bool,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Told:
        """Ask until there is an answer.

        Args:
            asked: The question.
            patience_ms: How long a refusal that may pass is no answer; None: for ever.
            timeout_ms: How long each answer may take.
            twice: It may be said twice, so an outcome that is not known is no answer either.
            wanted: Looked at before it is asked again.

        Raises:
            RequestError: as `once`; of what passes, the last one.
        """
        clock = self._doors.clock
        until = None if patience_ms is None else MonotonicMs(clock.monotonic_ms() + patience_ms)
        while True:
            try:
                return await self.once(asked, timeout_ms=timeout_ms)
            except RequestError as refused:
                unknown = refused.code.outcome is Outcome.UNKNOWN
                passes = twice if unknown else refused.code in PASSING
                is_late = until is not None and clock.monotonic_ms() + AGAIN_MS > until
                if not passes or is_late or not wanted():
                    raise
            await pause(clock, AGAIN_MS)

    def _whom(self, asked: Asked) -> NodeId:
        """Return who is to be asked.

        Raises:
            RequestError: NO_QUORUM, nobody is known.
        """
        me = self._doors.me.node
        leader = self._quorum.leader
        if leader is not None:
            self._hint = None
            return leader
        if self._hint is not None:
            return self._hint
        nodes = sorted(node for node in self._addresses.known if node != me)
        # Who has moved hears no leader before it has registered its new address.
        lost = isinstance(asked, RegisterBroker | BrokerHeartbeat)
        myself = Voter(me, self._doors.me.directory)
        if not nodes or (not lost and myself in self._quorum.configuration.members):
            raise RequestError(ErrorCode.NO_QUORUM, f"node {me} knows no active controller")
        return nodes[next(self._turn) % len(nodes)]

    def _second(self, refused: RequestError) -> RegistrationRefused:
        """Return the refusal of a node that is told it leads the quorum, and does not.

        Either it did, in a process before this one, and others have not noticed yet that it ended;
        or another process has its id.
        """
        me, told = self._doors.me.node, refused.metadata
        where = f"{told[HOST]}:{told[PORT]}" if HOST in told and PORT in told else "another address"
        self._hint = None
        return RegistrationRefused(
            Barrier.DUPLICATE_ID,
            f"node {me} is running already, at peer {where}, and leads the controller quorum: give "
            "this one another node id, or stop that one",
            node=str(me),
            address=where,
        )

    def _learn(self, refused: RequestError) -> None:
        """Take what a refusal says of who is to be asked instead."""
        told = refused.metadata
        self._hint = None
        if refused.code is not ErrorCode.NOT_LEADER or not told.get(LEADER, "").isdecimal():
            return
        self._hint = NodeId(int(told[LEADER]))
        if self._hint not in self._addresses.known and told.get(PORT, "").isdecimal():
            self._addresses.found(self._hint, Address(told[HOST], int(told[PORT])))
