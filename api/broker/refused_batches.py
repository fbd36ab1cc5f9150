"""Batches of idempotent producers that were refused for the moment, for the sake of those behind.

A client has several batches in flight. Where the first finds no leader yet, and the second finds
one, the second is out of sequence: nothing is lost, the first was not taken. Told that, librdkafka
would begin a new epoch and repeat under it, in all of its partitions, whatever it has had no answer
for: what is stored already would be stored twice (P20). So the second is refused for the moment as
well, and the client sends both again, in their order.

The first may not even have found its partition: clients hear of topics and replicas from another
node, before this one has applied the same metadata. Such a batch is remembered by what its client
called the topic, the name or the id.
"""

from typing import Final, NamedTuple, TypeAlias

from logstore.batch import Stamp
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import MonotonicMs, PartitionId, ProducerEpoch, ProducerId, Sequence, TopicId
from model.limits import NAME_CHARACTERS_MAX
from model.ports import Clock
from model.record import BatchHeader

FOR_THE_MOMENT: Final = frozenset(
    {
        ErrorCode.NOT_LEADER,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.OVERLOADED,
        ErrorCode.DISK_FULL,
    }
)
"""After these a client sends the same batch again, here or elsewhere."""
NOT_FOUND: Final = frozenset(
    {
        ErrorCode.UNKNOWN_TOPIC,
        ErrorCode.UNKNOWN_PARTITION,
        ErrorCode.NOT_LEADER,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NO_QUORUM,
    }
)
"""There is no such partition here, or not yet; Kafka's clients send the batch again."""
HERE_NOW: Final = NOT_FOUND - {ErrorCode.LEADER_NOT_AVAILABLE, ErrorCode.NO_QUORUM}
"""What would be wrong to say of a partition that this node leads by now."""
OUT_OF_TURN: Final = frozenset({ErrorCode.OUT_OF_ORDER_SEQUENCE, ErrorCode.UNKNOWN_PRODUCER_ID})
KEPT_MS: Final = 10_000
"""What was in flight together has been looked at within it; who comes later with a gap has one."""
KEPT_MAX: Final = 1 << 12
"""Batches, of the whole node: about 1 MiB."""

Where: TypeAlias = PartitionId | tuple[str, int]
"""A partition, or what a client calls one: its topic's name, and its number."""
Place: TypeAlias = tuple[Where, ProducerId, ProducerEpoch, Sequence]


class _Refused(NamedTuple):
    code: ErrorCode
    until: MonotonicMs


class RefusedBatches:
    """Where the newest of them would have stood in their producers' sequences. Loop only."""

    __slots__ = ("_clock", "_refused")

    def __init__(self, clock: Clock) -> None:
        """None was refused."""
        self._clock = clock
        self._refused: dict[Place, _Refused] = {}
        """The latest last."""

    def told(
        self, partition: PartitionId, batch: bytearray, refusal: RequestError, *, topic: str
    ) -> RequestError:
        """Return what the sender of a refused batch is told; remember it where others may follow.

        That is the refusal, but for a batch that is out of turn only because the one whose turn it
        is was refused for the moment. `topic`: the name of the partition's.
        """
        if refusal.code in FOR_THE_MOMENT:
            self._note(partition, _stamp(memoryview(batch)), refusal.code)
        elif refusal.code in OUT_OF_TURN and self._refused:
            return self._behind(partition, batch, refusal, topic=topic) or refusal
        return refusal

    def out_of_turn(
        self, partition: PartitionId, refusal: RequestError, told: RequestError
    ) -> None:
        """Remember a batch that is out of turn, if its sender is told something for the moment."""
        if told.code in FOR_THE_MOMENT:
            producer, epoch, sequence = (
                int(refusal.metadata[name]) for name in ("producer_id", "epoch", "base_sequence")
            )
            self._note(partition, Stamp(producer, epoch, sequence), told.code)

    def not_found(
        self, topic: str | TopicId, number: int, batch: memoryview | Stamp, *, refusal: RequestError
    ) -> None:
        """Remember a batch for which there was no partition here; a whole one, or its stamp."""
        is_name = not isinstance(topic, str) or len(topic) <= NAME_CHARACTERS_MAX.value
        if refusal.code in NOT_FOUND and is_name:
            where: Where = (
                PartitionId(topic, number) if isinstance(topic, bytes) else (topic, number)
            )
            stamp = batch if isinstance(batch, Stamp) else _stamp(batch)
            self._note(where, stamp, refusal.code)

    def _note(self, where: Where, stamp: Stamp, code: ErrorCode) -> None:
        if stamp.producer_id < 0:
            return
        place = _place(where, stamp, stamp.base_sequence)
        self._refused.pop(place, None)
        if len(self._refused) >= KEPT_MAX:
            del self._refused[next(iter(self._refused))]
        until = MonotonicMs(self._clock.monotonic_ms() + KEPT_MS)
        self._refused[place] = _Refused(code, until)

    def _behind(
        self, partition: PartitionId, batch: bytearray, refusal: RequestError, *, topic: str
    ) -> RequestError | None:
        """Return the refusal of the batch whose turn it is, if there was one a moment ago."""
        expected, stamp = int(refusal.metadata["expected_sequence"]), _stamp(memoryview(batch))
        now = self._clock.monotonic_ms()
        for where in (partition, (topic, partition.number)):
            before = self._refused.get(_place(where, stamp, expected))
            if before is not None and before.until >= now:
                break
        else:
            return None
        code = before.code
        if code in HERE_NOW:
            code = ErrorCode.LEADER_NOT_AVAILABLE
        return RequestError(
            code,
            f"the batch of sequence {expected}, which comes before this one, was refused a moment "
            f"ago: {before.code.name}",
            expected_sequence=str(expected),
            refused=before.code.name,
        )


def _stamp(batch: memoryview) -> Stamp:
    """Return who numbered a batch; nobody, if it is none: it would have been refused for that."""
    try:
        header = BatchHeader(batch)
    except MalformedError:
        return Stamp()
    return Stamp(header.producer_id, header.producer_epoch, header.base_sequence)


def _place(where: Where, stamp: Stamp, sequence: int) -> Place:
    producer, epoch = ProducerId(stamp.producer_id), ProducerEpoch(stamp.producer_epoch)
    return where, producer, epoch, Sequence(sequence)
