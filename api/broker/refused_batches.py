"""Batches of idempotent producers that were refused for the moment, for the sake of those behind.

A client has several batches in flight. Where the first finds no leader yet, and the second finds
one, the second is out of sequence: nothing is lost, the first was not taken. Told that, librdkafka
would begin a new epoch and repeat under it, in all of its partitions, whatever it has had no answer
for: what is stored already would be stored twice (P20). So the second is refused for the moment as
well, and the client sends both again, in their order.
"""

from typing import Final, NamedTuple, TypeAlias

from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import MonotonicMs, PartitionId, ProducerEpoch, ProducerId, Sequence
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
OUT_OF_TURN: Final = frozenset({ErrorCode.OUT_OF_ORDER_SEQUENCE, ErrorCode.UNKNOWN_PRODUCER_ID})
KEPT_MS: Final = 10_000
"""What was in flight together has been looked at within it; who comes later with a gap has one."""
KEPT_MAX: Final = 1 << 12
"""Batches, of the whole node: about 1 MiB."""

Place: TypeAlias = tuple[PartitionId, ProducerId, ProducerEpoch, Sequence]


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

    def told(self, partition: PartitionId, batch: bytearray, refusal: RequestError) -> RequestError:
        """Return what the sender of a refused batch is told; remember it where others may follow.

        That is the refusal, but for a batch that is out of turn only because the one whose turn it
        is was refused for the moment.
        """
        if refusal.code in FOR_THE_MOMENT:
            self._note(partition, batch, refusal.code)
        elif refusal.code in OUT_OF_TURN and self._refused:
            return self._behind(partition, batch, refusal) or refusal
        return refusal

    def _note(self, partition: PartitionId, batch: bytearray, code: ErrorCode) -> None:
        try:
            header = BatchHeader(memoryview(batch))
        except MalformedError:
            return  # nobody has looked at it yet: it would have been refused for that
        if header.producer_id < 0:
            return
        place = _place(partition, header, header.base_sequence)
        self._refused.pop(place, None)
        if len(self._refused) >= KEPT_MAX:
            del self._refused[next(iter(self._refused))]
        until = MonotonicMs(self._clock.monotonic_ms() + KEPT_MS)
        self._refused[place] = _Refused(code, until)

    def _behind(
        self, partition: PartitionId, batch: bytearray, refusal: RequestError
    ) -> RequestError | None:
        """Return the refusal of the batch whose turn it is, if there was one a moment ago."""
        expected = int(refusal.metadata["expected_sequence"])
        place = _place(partition, BatchHeader.of_checked(memoryview(batch)), expected)
        before = self._refused.get(place)
        if before is None or before.until < self._clock.monotonic_ms():
            return None
        code = before.code
        if code is ErrorCode.NOT_LEADER:  # that names who leads; now this node does
            code = ErrorCode.LEADER_NOT_AVAILABLE
        return RequestError(
            code,
            f"the batch of sequence {expected}, which comes before this one, was refused a moment "
            f"ago: {before.code.name}",
            expected_sequence=str(expected),
            refused=before.code.name,
        )


def _place(partition: PartitionId, header: BatchHeader, sequence: int) -> Place:
    producer, epoch = ProducerId(header.producer_id), ProducerEpoch(header.producer_epoch)
    return partition, producer, epoch, Sequence(sequence)
