"""What one partition knows of its idempotent producers (KIP-98): so that no send is stored twice.

A producer numbers its records per partition. For each producer id the last five batches are
remembered (a client keeps at most five in flight), so that a repeated one is recognised and
answered with its first offset and append time.

The state is a function of the batches in the log: `appended` is called for each in order, at
append, at replay and on followers. A snapshot (docs/formats/producers.md) only saves reading the
log from its start.

What was known before each batch that the files do not have yet, or that is not committed, is
remembered too: so a snapshot reflects exactly what they have, and after a cut exactly that is known
which the rest of the log says (P20). Where a cut goes deeper, the log is read
(`logstore.producer_replay`).

Invariants:
    PRODUCER_SEQUENCE_CONTIGUOUS   what is appended continues what was appended before.
    PRODUCER_SNAPSHOT_IS_PAST      a snapshot holds nothing at or above its own offset.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset, ProducerEpoch, ProducerId, Sequence

WINDOW_BATCHES: Final = 5
"""Batches remembered for each producer: `max.in.flight.requests.per.connection` of every client."""
REMEMBERED_MAX: Final = 1 << 14
"""Batches before which the state is remembered, of those in the files: about 8 MiB at most."""
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


class Producer(NamedTuple):
    """One producer id in one partition: never changed, for whoever remembers it shares it."""

    epoch: ProducerEpoch
    next_sequence: Sequence
    last_append_time: AppendTimeMs
    window: list[Remembered]
    """Its last batches, oldest first."""


class _Before(NamedTuple):
    """What a batch has changed."""

    offset: Offset
    """Where it begins."""
    producer_id: ProducerId
    known: Producer | None
    """As it was. None: nothing was known."""


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

    __slots__ = ("_before", "_expiration_ms", "_limit", "_producers", "_settled")

    def __init__(self, *, limit: int, expiration_ms: int) -> None:
        """Start empty; at most `limit` ids, each forgotten `expiration_ms` after its last batch."""
        self._producers: OrderedDict[ProducerId, Producer] = OrderedDict()
        self._limit = limit
        self._expiration_ms = expiration_ms
        self._before: deque[_Before] = deque()
        """Of the batches at or above `_settled`, in their order."""
        self._settled = Offset(0)

    def __len__(self) -> int:
        """Return how many producer ids are known."""
        return len(self._producers)

    def items(self) -> Iterator[tuple[ProducerId, Producer]]:
        """Yield what is known, least recently used first. Read only."""
        yield from self._producers.items()

    def newest(self, producer_id: ProducerId) -> int:
        """Return where the newest batch that is known of a producer begins; -1: none is."""
        known = self._producers.get(producer_id)
        return -1 if known is None else _newest((producer_id, known))

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
        window = [batch]
        if known is not None:
            if epoch == known.epoch:
                follows = known.next_sequence == batch.base_sequence
                assert follows, "PRODUCER_SEQUENCE_CONTIGUOUS"
                window = [*known.window[1 - WINDOW_BATCHES :], batch]
            else:
                assert epoch > known.epoch, "PRODUCER_SEQUENCE_CONTIGUOUS"
            self._producers.move_to_end(producer_id)
        noted = batch.base_offset >= self._settled
        if noted:
            self._before.append(_Before(batch.base_offset, producer_id, known))
        self._producers[producer_id] = Producer(
            epoch, batch.next_sequence, batch.append_time, window
        )
        if len(self._producers) > self._limit:
            gone = self._producers.popitem(last=False)
            if noted:
                self._before.append(_Before(batch.base_offset, *gone))

    def found(self, producer_id: ProducerId, epoch: ProducerEpoch, batch: Remembered) -> None:
        """Note a batch that a start has read from the log.

        Where it does not follow what is known, a batch before it is damaged: the producer begins
        anew with this one. Its next batch is refused unless it follows, never stored twice.
        """
        self.make_way(producer_id, epoch, batch.base_sequence, offset=batch.base_offset)
        self.appended(producer_id, epoch, batch)

    def make_way(
        self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: Sequence,
        *,
        offset: Offset,
    ) -> None:
        """Forget a producer whose batch, at `offset` of the log, does not follow what is known."""
        known = self._producers.get(producer_id)
        if known is not None and (
            epoch < known.epoch or (epoch == known.epoch and base_sequence != known.next_sequence)
        ):
            if offset >= self._settled:
                self._before.append(_Before(offset, producer_id, known))
            del self._producers[producer_id]

    def expire(self, now: AppendTimeMs) -> None:
        """Forget producers whose last batch is older than the expiration; on the append clock."""
        while self._producers:
            producer_id, oldest = next(iter(self._producers.items()))
            if oldest.last_append_time > now - self._expiration_ms:
                return
            del self._producers[producer_id]

    def forget_oldest(self, count: int) -> None:
        """Forget so many producers, those whose last batch is the oldest."""
        for _ in range(min(count, len(self._producers))):
            self._producers.popitem(last=False)

    def begin_at(self, offset: Offset) -> None:
        """Note that nobody will ask for a log that ends below `offset`, or will read it again."""
        self._settled = offset
        self._before.clear()

    def settle(self, filed: Offset, committed: Offset) -> None:
        """Note that the files have every batch below `filed`, and below `committed` none is cut.

        Back to the lower of them is remembered; of more batches than `REMEMBERED_MAX` only what the
        files do not have.
        """
        least, before = min(filed, committed), self._before
        settled = least
        while before and (first := before[0].offset) < filed:
            if first >= least and len(before) <= REMEMBERED_MAX:
                break
            before.popleft()
            settled = Offset(first + 1)
        self._settled = max(self._settled, least, settled)

    def reaches(self, offset: Offset) -> bool:
        """Tell whether `roll_back` to there is exact: else the log is to be read."""
        return offset >= self._settled

    def roll_back(self, offset: Offset) -> None:
        """Forget every batch at or above `offset`.

        Exact as far as it `reaches`. Below that it goes by the windows: what is known then is true
        of the log that ends there, but may not be all.
        """
        before = self._before
        in_order = True
        while before and before[-1].offset >= offset:
            _, producer_id, known = before.pop()
            if known is None:
                self._producers.pop(producer_id, None)
            else:
                self._producers[producer_id] = known
                in_order = False
        if offset < self._settled:
            self._forget_from(offset)
            self._settled = offset
            in_order = False
        if not in_order:
            self._producers = OrderedDict(sorted(self._producers.items(), key=_newest))

    def _forget_from(self, offset: Offset) -> None:
        """Forget batches that no remembered state precedes.

        The sequence to go on from is the first one that is forgotten: sequences have no gap. A
        producer of which no batch is left is forgotten whole.
        """
        for producer_id, known in list(self._producers.items()):
            kept = [batch for batch in known.window if batch.base_offset < offset]
            if len(kept) == len(known.window):
                continue
            if not kept:
                del self._producers[producer_id]
                continue
            following = known.window[len(kept)].base_sequence
            last = kept[-1].append_time
            self._producers[producer_id] = Producer(known.epoch, following, last, kept)

    def as_of(self, offset: Offset) -> "ProducerState":
        """Return a copy that knows of no batch at or above an offset; see `roll_back`."""
        copy = ProducerState(limit=self._limit, expiration_ms=self._expiration_ms)
        copy._producers = self._producers.copy()
        copy._before, copy._settled = self._before.copy(), self._settled
        copy.roll_back(offset)
        return copy

    def replayed(self, producers: Iterable[tuple[ProducerId, Producer]] = ()) -> "ProducerState":
        """Return another one, of the same bounds, that knows these alone: to replay a log into."""
        other = ProducerState(limit=self._limit, expiration_ms=self._expiration_ms)
        other.restore(iter(producers))
        return other

    def join(self, others: "ProducerState") -> None:
        """Add what others know of batches before those that are known here, of the same log."""
        for producer_id, other in others.items():
            known = self._producers.get(producer_id)
            if known is None:
                self._producers[producer_id] = other
            elif known.epoch == other.epoch:
                first = known.window[0].base_offset
                older = [batch for batch in other.window if batch.base_offset < first]
                window = [*older, *known.window][-WINDOW_BATCHES:]
                self._producers[producer_id] = known._replace(window=window)
        ordered = sorted(self._producers.items(), key=_newest)
        self._producers = OrderedDict(ordered[-self._limit :])

    def follow(self, others: "ProducerState", *, start: Offset) -> None:
        """Take over producers of whom others know a later batch, at or above `start`."""
        for producer_id, other in others.items():
            newest, known = _newest((producer_id, other)), self._producers.get(producer_id)
            known_newest = -1 if known is None else _newest((producer_id, known))
            if newest >= start and newest > known_newest:
                self._producers[producer_id] = other
        ordered = sorted(self._producers.items(), key=_newest)
        self._producers = OrderedDict(ordered[-self._limit :])

    def restore(self, producers: "Iterator[tuple[ProducerId, Producer]]") -> None:
        """Take over what a snapshot held, in its order; whatever was known before is forgotten."""
        self._producers = OrderedDict(producers)
        self._before.clear()


def _newest(item: tuple[ProducerId, Producer]) -> int:
    """Return where the newest batch of a producer begins: what the least recently used goes by."""
    window = item[1].window
    return window[-1].base_offset if window else -1


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
