"""Whether this node has joined its cluster: before that it can answer no client, and says so.

Doors open as soon as the log directory is recovered, whether or not there is a majority of the
controllers: an operator must be able to look, and a client must hear why it is not served. Most
nodes join within a moment, so a call waits for one before it is refused as *not done*.

The metadata of such a node name no cluster, and it hosts nothing.
"""

from asyncio import Future, get_running_loop
from typing import Final

from model.errors import ErrorCode, RequestError
from model.ids import MonotonicMs, NodeId
from model.ports import Clock

WAIT_MS_MAX: Final = 1_000
"""How long a call waits: as long as one that is forwarded waits for a leader."""


class Joining:
    """See the module. Loop only."""

    __slots__ = ("_clock", "_node", "_waiting", "is_over")

    def __init__(self, node: NodeId, clock: Clock) -> None:
        """Begin: nothing is known of a cluster."""
        self._node = node
        self._clock = clock
        self._waiting: dict[Future[None], None] = {}
        self.is_over = False
        """Whether calls are served; looked at for each one."""

    def end(self) -> None:
        """Serve who waits, and everybody from now on."""
        self.is_over = True
        for waiting in list(self._waiting):
            _let_go(waiting)

    async def over(self, left_ms: int | None) -> None:
        """Return once the node has joined. `left_ms`: what is left of the call's own time.

        Raises:
            RequestError: NO_QUORUM, it does not soon.
        """
        if self.is_over:
            return
        wait_ms = WAIT_MS_MAX if left_ms is None else max(0, min(left_ms, WAIT_MS_MAX))
        waiting: Future[None] = get_running_loop().create_future()
        self._waiting[waiting] = None
        until = MonotonicMs(self._clock.monotonic_ms() + wait_ms)
        cancel = self._clock.call_at(until, lambda: _let_go(waiting))
        try:
            await waiting
        finally:
            cancel()
            del self._waiting[waiting]
        if not self.is_over:
            detail = f"node {self._node} has not joined its cluster: it waits for the controllers"
            raise RequestError(ErrorCode.NO_QUORUM, detail, node=str(self._node))


def _let_go(waiting: "Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
