"""A partition of which this node holds no replica: what its leader has told of it, and who waits.

Nothing tells this node that such a partition has news; while somebody waits for some, its leader is
asked again and again. Of all that are waited for, each leader is asked in one call.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from api.broker.readable import Wake
from api.broker.resolve import Resolved
from cluster.controller.image import TopicImage
from cluster.shell.controller_doors import pause
from cluster.shell.hosted_partition import led_elsewhere
from model.errors import RequestError
from model.ids import LeaderEpoch, Offset, PartitionId
from model.ports import Clock, Spawn

ASK_MS: Final = 100
"""How often leaders are asked for what they have."""

Ends: TypeAlias = Callable[
    [Sequence["DistantPartition"]], Awaitable[Sequence[Resolved | RequestError]]
]
"""Returns what the leaders of some partitions say of their ends, in order."""


class DistantPartition:
    """`api.broker.readable.Readable`, elsewhere. Loop only."""

    serves: Final = False

    def __init__(self, topic: TopicImage, number: int, watched: "Watched") -> None:
        """Know nothing of it but its name."""
        self.topic = topic
        self.number = number
        self.id = PartitionId(topic.topic_id, number)
        self.leader_epoch = LeaderEpoch(topic.partitions[number].leader_epoch)
        self.log_start = self.high_watermark = self.last_stable_offset = Offset(0)
        """Of the log of its leader, as that has told last."""
        self._watched = watched
        self._waiting: dict[Wake, Offset] = {}

    @property
    def tail_start(self) -> Offset:
        """Nothing of it is in memory here."""
        return self.high_watermark

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody wants to know of news."""
        return bool(self._waiting)

    def not_serving(self) -> RequestError:
        """Return where it is led, as far as was known when it was found."""
        return led_elsewhere(self.topic, self.number)

    def watch(self, offset: Offset, wake: Wake) -> None:
        """See `Readable`."""
        self._waiting[wake] = offset
        self._watched.ask_for(self)

    def unwatch(self, wake: Wake) -> None:
        """See `Readable`."""
        self._waiting.pop(wake, None)

    def told(self, log_start: Offset, high_watermark: Offset, last_stable: Offset) -> None:
        """Take what its leader says; wake whoever waited for that."""
        self.log_start, self.high_watermark = log_start, high_watermark
        self.last_stable_offset = last_stable
        for wake in [wake for wake, at in self._waiting.items() if at < high_watermark]:
            del self._waiting[wake]
            wake()

    def gone(self) -> None:
        """Its topic is deleted: whoever waits is to look again."""
        waiting, self._waiting = self._waiting, {}
        for wake in waiting:
            wake()


class Watched:
    """Those partitions that somebody waits for; one task asks, while there are any. Loop only."""

    def __init__(self, clock: Clock, spawn: Spawn) -> None:
        """Ask nobody before `ends` is set."""
        self._clock, self._spawn = clock, spawn
        self._partitions: dict[PartitionId, DistantPartition] = {}
        self._asking = False
        self.ends: Ends | None = None

    def ask_for(self, partition: DistantPartition) -> None:
        """Ask for news of a partition, as long as somebody waits for it."""
        self._partitions[partition.id] = partition
        if not self._asking and self.ends is not None:
            self._asking = True
            self._spawn.start(self._ask(self.ends), "news of partitions elsewhere")

    async def _ask(self, ends: Ends) -> None:
        try:
            while True:
                await pause(self._clock, ASK_MS)
                self._partitions = {
                    place: one for place, one in self._partitions.items() if one.is_waited_for
                }
                asked = list(self._partitions.values())
                if not asked:
                    return
                for one, said in zip(asked, await ends(asked), strict=True):
                    if isinstance(said, Resolved):  # else its leader is asked again
                        one.told(said.log_start, said.high_watermark, said.last_stable_offset)
        finally:
            self._asking = False
