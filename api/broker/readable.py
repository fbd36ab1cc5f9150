"""A partition as those see it who read it for somebody: with a replica here, or without one."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from cluster.controller.image import TopicImage
from model.errors import RequestError
from model.ids import LeaderEpoch, Offset, PartitionId

Wake: TypeAlias = Callable[[], None]


class Readable(Protocol):
    """`HostedPartition` is one, and `DistantPartition`. Loop only."""

    @property
    def id(self) -> PartitionId:
        """Which partition of which topic."""
        ...

    @property
    def topic(self) -> TopicImage:
        """Its topic, as of now or of when it was found."""
        ...

    @property
    def number(self) -> int:
        """Its number in the topic."""
        ...

    @property
    def leader_epoch(self) -> LeaderEpoch:
        """Of the newest leadership that is known."""
        ...

    @property
    def log_start(self) -> Offset:
        """First offset that is kept, as far as is known here."""
        ...

    @property
    def high_watermark(self) -> Offset:
        """First offset that is not committed, as far as is known here."""
        ...

    @property
    def last_stable_offset(self) -> Offset:
        """What READ_COMMITTED may show, likewise."""
        ...

    @property
    def tail_start(self) -> Offset:
        """From here on it is read from memory; history lies below."""
        ...

    @property
    def serves(self) -> bool:
        """Whether this node answers for it: it leads, and knows all that is committed."""
        ...

    def not_serving(self) -> RequestError:
        """Return what a client is told where this node does not serve it."""
        ...

    def watch(self, offset: Offset, wake: Wake) -> None:
        """Call `wake` once the record at `offset` is committed, unless `unwatch` comes first."""
        ...

    def unwatch(self, wake: Wake) -> None:
        """Forget a `wake`, which may have been called already."""
        ...


def reads_files(partition: Readable, start: Offset, end: Offset) -> bool:
    """Tell whether what a reader is given next is not in memory already."""
    return start < min(end, partition.tail_start)
