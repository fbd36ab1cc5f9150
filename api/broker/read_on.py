"""Read on from places in many partitions, as steps forward with everything that a reader is told.

What a Kafka fetch leaves to its client is decided here: records that were removed before they were
read are a `Gap`, records that were cut off after they were read are `Diverged`, and each batch
comes with its append time.

Invariants:
    READ_HERE_IS_HOSTED    only a partition with a replica here is read here.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from api.broker.answer_room import AnswerRoom
from api.broker.append_runs import StoredBatch, append_runs
from api.broker.context import BrokerContext
from api.broker.fetch import NOT_TOLD, Fetch, Fetched, Want
from api.broker.readable import Readable
from api.broker.search import Searches
from cluster.shell.hosted_partition import HostedPartition
from logstore.behind_damage import behind_damage
from logstore.searchable import SegmentGone
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, LeaderEpoch, Offset
from model.principal import Principal


class ReadFrom(NamedTuple):
    """Where a reader stands in one partition."""

    partition: Readable
    offset: Offset
    max_bytes: int
    last_epoch: LeaderEpoch | None = None
    """Leader epoch of the record before `offset`, as it was read; None = no check."""


class Step(NamedTuple):
    """One partition moved on to `next_offset`; without batches it is a sign of life."""

    partition: Readable
    start_offset: Offset
    """Where the reader stood; the first batch may begin below."""
    batches: Sequence[StoredBatch]
    next_offset: Offset
    log_start: Offset
    high_watermark: Offset
    last_stable_offset: Offset
    closed_time: AppendTimeMs
    """No record at or beyond the high watermark has, or will have, a lesser append time."""
    is_told: bool = True
    """Whoever leads the partition says so; else nobody could be asked, and it may go further."""

    @property
    def size_bytes(self) -> int:
        """Of the batches."""
        return sum(len(batch.view) for batch in self.batches)

    @property
    def last_epoch(self) -> LeaderEpoch | None:
        """Leader epoch of the newest batch; None if there is none."""
        return self.batches[-1].leader_epoch if self.batches else None


class Gap(NamedTuple):
    """Records were removed before they were read."""

    partition: Readable
    expected_offset: Offset
    next_offset: Offset


class Diverged(NamedTuple):
    """Records that were read are no longer in the log (P18)."""

    partition: Readable
    offset: Offset
    """The first that is not what was read."""
    leader_epoch: LeaderEpoch
    """The last that reader and log have in common."""


Read: TypeAlias = Step | Gap | Diverged | RequestError


class ReadOn:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext, fetch: Fetch, searches: Searches) -> None:
        """Read through the node's own fetch."""
        self._node = context
        self._fetch = fetch
        self._searches = searches

    async def __call__(
        self,
        principal: Principal,
        places: Sequence[ReadFrom | RequestError],
        *,
        min_bytes: int,
        max_bytes: int,
        max_wait_ms: int,
        room: AnswerRoom | None = None,
    ) -> list[Read]:
        """Return what became of each place, in order; an error that the door met passes through.

        Waits until there are `min_bytes`, or somebody is to be told something, but no longer than
        `max_wait_ms`. Cancelling the task leaves nothing behind. `room`: as in `Fetch.wait`.
        """
        diverged = [_diverged(place) for place in places]
        if any(diverged):
            max_wait_ms = 0
        fetched = await self._fetch.wait(
            principal,
            [_want(place) for place in places],
            min_bytes=min_bytes,
            max_bytes=max_bytes,
            max_wait_ms=max_wait_ms,
            room=room,
        )
        read: list[Read] = []
        for place, parted, found in zip(places, diverged, fetched, strict=True):
            if isinstance(place, RequestError):
                read.append(place)
            elif parted is not None:
                read.append(parted)
            elif found.error is not None:
                read.append(_gap(place, found) or _named(place, found.error))
            else:
                read.append(await self._step(place, found))
        return read

    async def _step(self, place: ReadFrom, found: Fetched) -> Step:
        """Give each batch its append time."""
        partition, next_offset = replica_here(place.partition), found.next_offset
        batches: Sequence[StoredBatch] = ()
        if found.size_bytes:
            search = append_runs(partition.log, found.buffers, start=place.offset, end=next_offset)
            try:
                batches = await self._searches.run(partition.log, search)
            except SegmentGone:  # removed while it was looked at: the next read tells of the gap
                next_offset = place.offset
        # Read together, now: what is closed holds for what lies beyond this very high watermark.
        return Step(
            partition,
            place.offset,
            batches,
            next_offset,
            partition.log_start,
            partition.high_watermark,
            partition.last_stable_offset,
            partition.closed_time(self._node.closed_time()),
        )


def _want(place: ReadFrom | RequestError) -> Want:
    if isinstance(place, RequestError):
        return Want(place, Offset(0), 0)
    partition = replica_here(place.partition)
    return Want(partition, place.offset, place.max_bytes, _later_epoch(place))


def replica_here(partition: Readable) -> HostedPartition:
    """Return the replica that is read: those elsewhere go another way (`anywhere`)."""
    assert isinstance(partition, HostedPartition), "READ_HERE_IS_HOSTED"
    return partition


def _diverged(place: ReadFrom | RequestError) -> Diverged | None:
    """Tell where a reader and the log part, if they do (KIP-320)."""
    if isinstance(place, RequestError) or place.last_epoch is None or not place.partition.serves:
        return None  # or this node has no say: the fetch is refused
    if _later_epoch(place) != NOT_TOLD:
        return None  # nor has it here
    log = replica_here(place.partition).log
    common = log.leader_epochs.end_of(place.last_epoch, log.log_end)
    if common is None or common.start >= place.offset:
        return None
    return Diverged(place.partition, common.start, common.epoch)


def _later_epoch(place: ReadFrom) -> int:
    """Return the epoch that a reader has read of, if it is later than all that this node knows.

    A leader that is cut off and has been followed by another cannot say what became of its log: who
    comes from there is to ask again (UNKNOWN_EPOCH), and is not told that its records are gone.
    """
    epoch = place.last_epoch
    return NOT_TOLD if epoch is None or epoch <= place.partition.leader_epoch else epoch


def _named(place: ReadFrom, refusal: RequestError) -> RequestError:
    """Return a refusal with the offsets that cannot be served, if it is one of damage."""
    partition, offset = replica_here(place.partition), place.offset
    goes_on = behind_damage(partition.log, offset, refusal)
    if goes_on is None:
        return refusal
    goes_on = min(goes_on, max(partition.high_watermark, Offset(offset + 1)))
    topic, number = str(partition.topic.name), partition.number
    named = RequestError(
        refusal.code,
        f"{topic}/{number}: offsets {offset} to {goes_on - 1}: {refusal.detail}",
        topic=topic,
        partition=str(number),
        offset=str(offset),
        next_offset=str(goes_on),
    )
    named.metadata = {**refusal.metadata, **named.metadata}
    return named


def _gap(place: ReadFrom, found: Fetched) -> Gap | None:
    """Tell what was removed before it was read; None if nothing was."""
    error = found.error
    if error is None or error.code is not ErrorCode.OFFSET_OUT_OF_RANGE:
        return None
    log_start = replica_here(place.partition).log_start  # who is refused is told none
    if not 0 <= place.offset < log_start:
        return None
    return Gap(place.partition, place.offset, log_start)
