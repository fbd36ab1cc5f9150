"""What one partition knows of its idempotent producers (KIP-98): so that no send is stored twice.

A producer numbers its records per partition. For each producer id the last five batches are
remembered (a client keeps at most five in flight), so that a repeated one is recognised and
answered with its first offset and append time.

The state is a function of the batches in the log: `appended` is called for each in order, at
append, at replay and on followers. A snapshot (docs/formats/producers.md) only saves reading the
log from its start.

Invariants:
    PRODUCER_SEQUENCE_CONTIGUOUS   what is appended continues what was appended before.
    PRODUCER_SNAPSHOT_IS_PAST      a snapshot holds nothing at or above its own offset.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset, ProducerEpoch, ProducerId, Sequence

WINDOW_BATCHES: Final = 5
"""Batches remembered for each producer: `max.in.flight.requests.per.connection` of every client."""
SEQUENCES: Final = 1 << 31
"""After sequence 2**31 - 1 comes 0."""


class Remembered(NamedTuple):
    """One batch of the window."""

    base_sequence: Sequence
    records: int
    base_offset: Offset
    append_time: AppendTimeMs

    @property
    def next_sequence(self) -> Sequence:
        """What the producer sends after it."""
        return advance(self.base_sequence, self.records)

    @property
    def end_offset(self) -> Offset:
        """First offset after it."""
        return Offset(self.base_offset + self.records)


@dataclass(slots=True)
class Producer:
    """One producer id in one partition."""

    epoch: ProducerEpoch
    next_sequence: Sequence
    last_append_time: AppendTimeMs
    window: list[Remembered] = field(default_factory=list)


class Fresh(NamedTuple):
    """The batch continues the producer's sequence: append it."""


class Duplicate(NamedTuple):
    """The batch is in the log already; this is what its first answer said."""

    base_offset: Offset
    end_offset: Offset
    append_time: AppendTimeMs


Verdict: TypeAlias = Fresh | Duplicate
FRESH: Final = Fresh()


def advance(sequence: Sequence, records: int) -> Sequence:
    """Return the sequence so many records later."""
    return Sequence((sequence + records) % SEQUENCES)


class ProducerState:
    """Producer ids of one partition, least recently used first."""

    __slots__ = ("_expiration_ms", "_limit", "_producers", "changed")

    def __init__(self, *, limit: int, expiration_ms: int) -> None:
        """Start empty; at most `limit` ids, each forgotten `expiration_ms` after its last batch."""
        self._producers: OrderedDict[ProducerId, Producer] = OrderedDict()
        self._limit = limit
        self._expiration_ms = expiration_ms
        self.changed = False
        """Something was appended since the owner last wrote a snapshot and reset this."""

    def __len__(self) -> int:
        """Return how many producer ids are known."""
        return len(self._producers)

    def items(self) -> Iterator[tuple[ProducerId, Producer]]:
        """Yield what is known, least recently used first. Read only."""
        yield from self._producers.items()

    def check(
        self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: Sequence,
        *,
        records: int,
    ) -> Verdict:
        """Decide about a batch that a client sent; changes nothing.

        Raises:
            RequestError: PRODUCER_FENCED (an older epoch), OUT_OF_ORDER_SEQUENCE (a gap, or a new
                epoch that does not begin at 0), DUPLICATE_SEQUENCE (stored too long ago to tell the
                offset), UNKNOWN_PRODUCER_ID (nothing is known and it does not begin at 0: its
                state expired, so a repetition could not be told from a new batch; P21).
        """
        known = self._producers.get(producer_id)
        if known is None:
            if base_sequence != 0:
                raise _refusal(
                    ErrorCode.UNKNOWN_PRODUCER_ID,
                    (producer_id, epoch),
                    expected=0,
                    got=base_sequence,
                )
            return FRESH
        if epoch != known.epoch:
            if epoch < known.epoch:
                raise RequestError(
                    ErrorCode.PRODUCER_FENCED,
                    f"producer {producer_id} has epoch {known.epoch}, the batch has {epoch}",
                    producer_id=str(producer_id),
                    epoch=str(epoch),
                    current_epoch=str(known.epoch),
                )
            if base_sequence != 0:
                raise _refusal(
                    ErrorCode.OUT_OF_ORDER_SEQUENCE,
                    (producer_id, epoch),
                    expected=0,
                    got=base_sequence,
                )
            return FRESH
        expected = known.next_sequence
        if base_sequence == expected:
            return FRESH
        for batch in reversed(known.window):
            if batch.base_sequence == base_sequence and batch.records == records:
                return Duplicate(batch.base_offset, batch.end_offset, batch.append_time)
        behind = (expected - base_sequence) % SEQUENCES
        stored = records <= behind < SEQUENCES // 2
        code = ErrorCode.DUPLICATE_SEQUENCE if stored else ErrorCode.OUT_OF_ORDER_SEQUENCE
        raise _refusal(code, (producer_id, epoch), expected=expected, got=base_sequence)

    def appended(self, producer_id: ProducerId, epoch: ProducerEpoch, batch: Remembered) -> None:
        """Note a batch that is in the log now."""
        known = self._producers.get(producer_id)
        if known is None:
            known = self._producers[producer_id] = Producer(
                epoch, batch.base_sequence, batch.append_time
            )
            if len(self._producers) > self._limit:
                self._producers.popitem(last=False)
        elif epoch != known.epoch:
            assert epoch > known.epoch, "PRODUCER_SEQUENCE_CONTIGUOUS"
            known.epoch = epoch
            known.next_sequence = batch.base_sequence
            known.window = []
        assert known.next_sequence == batch.base_sequence, "PRODUCER_SEQUENCE_CONTIGUOUS"
        known.window = [*known.window[1 - WINDOW_BATCHES :], batch]
        known.next_sequence = batch.next_sequence
        known.last_append_time = batch.append_time
        self._producers.move_to_end(producer_id)
        self.changed = True

    def found(self, producer_id: ProducerId, epoch: ProducerEpoch, batch: Remembered) -> None:
        """Note a batch that a start has read from the log.

        Where it does not follow what is known, a batch before it is damaged: the producer begins
        anew with this one. Its next batch is refused unless it follows, never stored twice.
        """
        known = self._producers.get(producer_id)
        if known is not None and (
            epoch < known.epoch
            or (epoch == known.epoch and batch.base_sequence != known.next_sequence)
        ):
            del self._producers[producer_id]
        self.appended(producer_id, epoch, batch)

    def expire(self, now: AppendTimeMs) -> None:
        """Forget producers whose last batch is older than the expiration; on the append clock."""
        while self._producers:
            producer_id, oldest = next(iter(self._producers.items()))
            if oldest.last_append_time > now - self._expiration_ms:
                return
            del self._producers[producer_id]
            self.changed = True

    def roll_back(self, offset: Offset) -> None:
        """Forget every batch at or above `offset`, which was cut off the log.

        The sequence to go on from is the first one that is forgotten: sequences have no gap. A
        producer whose epoch began above the cut, or of which more was cut off than its window
        remembers, is forgotten whole; its next batch is refused (UNKNOWN_PRODUCER_ID) or begins
        anew, and is never taken for one that is still stored.
        """
        for producer_id, known in list(self._producers.items()):
            kept = [batch for batch in known.window if batch.base_offset < offset]
            if len(kept) == len(known.window):
                continue
            first_lost = known.window[len(kept)]
            self.changed = True
            deeper = first_lost.base_offset > offset  # batches before the window may be gone, too
            if not kept and (first_lost.base_sequence == 0 or deeper):
                del self._producers[producer_id]
                continue
            known.window = kept
            known.next_sequence = first_lost.base_sequence
            if kept:
                known.last_append_time = kept[-1].append_time

    def as_of(self, offset: Offset) -> "ProducerState":
        """Return a copy that knows of no batch at or above an offset; see `roll_back`."""
        copy = ProducerState(limit=self._limit, expiration_ms=self._expiration_ms)
        copy.restore(
            (name, Producer(known.epoch, known.next_sequence, known.last_append_time, known.window))
            for name, known in self._producers.items()
        )
        copy.roll_back(offset)
        return copy

    def restore(self, producers: "Iterator[tuple[ProducerId, Producer]]") -> None:
        """Take over what a snapshot held, in its order; whatever was known before is forgotten."""
        self._producers = OrderedDict(producers)
        self.changed = False


def _refusal(
    code: ErrorCode, producer: tuple[ProducerId, ProducerEpoch], *, expected: int, got: int
) -> RequestError:
    producer_id, epoch = producer
    return RequestError(
        code,
        f"producer {producer_id} epoch {epoch}: expected sequence {expected}, got {got}",
        producer_id=str(producer_id),
        epoch=str(epoch),
        expected_sequence=str(expected),
        base_sequence=str(got),
    )
