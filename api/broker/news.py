"""Waiting for the next change of the metadata: for those who tell it on."""

from asyncio import Future, get_running_loop

from api.broker.context import BrokerContext
from cluster.controller.image import MetadataDelta, MetadataImage
from model.ids import MonotonicMs


class MetadataNews:
    """Wakes whoever waits at every committed step. Loop only."""

    def __init__(self, context: BrokerContext) -> None:
        """Listen from the first time that somebody waits: listeners of the quorum stay for good."""
        self._node = context
        self._waiting: dict[Future[None], None] = {}
        self._listens = False

    async def come(self, seen: MetadataImage, *, within_ms: int) -> None:
        """Return once the metadata are others than `seen`, or so much time has passed."""
        if not self._listens:
            self._listens = True
            self._node.quorum.subscribe(self._published)
        if self._node.quorum.image is not seen:
            return
        woken: Future[None] = get_running_loop().create_future()
        self._waiting[woken] = None
        clock = self._node.clock
        until = MonotonicMs(clock.monotonic_ms() + within_ms)
        cancel = clock.call_at(until, lambda: _wake(woken))
        try:
            await woken
        finally:
            del self._waiting[woken]
            cancel()

    def _published(self, image: MetadataImage, delta: MetadataDelta) -> None:
        del image, delta
        for woken in self._waiting:
            _wake(woken)


def _wake(future: "Future[None]") -> None:
    if not future.done():
        future.set_result(None)
