"""Snapshots of state partitions over the links between nodes: asked for, and answered.

Whoever assembles a node makes one, before the first link:

states = PeerStates(links, spawn)       it is `cluster.shell.state_doors.StateLinks`
states.serve(groups.serve)              once there are state partitions; again for others

Who asks and hears nothing, or a refusal, asks again.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from cluster.peer.forward import CallRefused, encode_refused
from cluster.peer.hello import Hello
from cluster.peer.snapshot import AskState, StatePart, decode, encode_ask, encode_part
from cluster.peer.table import Family, Frame
from cluster.shell.peer_answer import Answer
from cluster.shell.peer_links import PeerLinks
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import NodeId
from model.ports import Spawn

TIMEOUT_MS: Final = 5_000
"""Of one part: a leader's thread may be writing a large state before it reads."""

Serve: TypeAlias = Callable[[AskState, Callable[[StatePart | None], None]], bool]
"""`StatePartitions.serve`."""


class PeerStates:
    """See the module. Loop only.

    Invariants:
        STATE_FRAMES_ASK    only what asks comes to the route.
    """

    def __init__(self, links: PeerLinks, spawn: Spawn) -> None:
        """Take the frames of the family; before the first link."""
        self._links = links
        self._spawn = spawn
        self._served: list[Serve] = []
        links.route(Family.STATE, self._receive)

    def serve(self, serve: Serve) -> None:
        """Answer other nodes with what one topic's state partitions have."""
        self._served.append(serve)

    def ask_state(
        self, node: NodeId, ask: AskState, done: Callable[[StatePart | None], None]
    ) -> None:
        """Ask for a part of a snapshot; `done` is called once, later, with None if none came."""
        self._spawn.start(self._ask(node, ask, done), f"state snapshot of node {node}")

    async def _ask(
        self, node: NodeId, ask: AskState, done: Callable[[StatePart | None], None]
    ) -> None:
        try:
            frame = await self._links.ask(node, partial(encode_ask, ask), timeout_ms=TIMEOUT_MS)
            part = decode(frame)
        except (RequestError, MalformedError):  # whoever asks comes again in a while
            part = None
        done(part if isinstance(part, StatePart) else None)

    def _receive(self, peer: Hello, frame: Frame, answer: Answer | None) -> None:
        """Answer another node.

        Raises:
            MalformedError: it is no question: end the link.
        """
        ask = decode(frame)
        assert answer is not None and isinstance(ask, AskState), "STATE_FRAMES_ASK"
        told = partial(_tell, answer, frame.correlation)
        if not any(serve(ask, told) for serve in self._served):
            told(None)


def _tell(answer: Answer, correlation: int, part: StatePart | None) -> None:
    if part is not None:
        answer(encode_part(part, correlation=correlation))
        return
    none = RequestError(ErrorCode.COORDINATOR_LOADING, "there is no snapshot here now")
    answer(encode_refused(CallRefused.of(none), correlation=correlation))
