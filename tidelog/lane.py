"""One partition's batches on their way: in order, in the log once, at most five unanswered.

A plain state machine: it is told what was sent and what came back, and says which batch goes next
and which are settled. It knows no network, no clock and no task.

With a stamp (an idempotent producer) a batch is in the log once, however often it is sent: the node
knows producer, epoch and sequence. So after an unclear answer the same batch goes out again, and
the batches behind it, which the node refuses until then (OUT_OF_ORDER_SEQUENCE). When a batch is
given up, the ones behind it would wait for it for ever; each of them that is refused so is proven
not to be in the log, and only then gets a new stamp, of a new producer.

Without a stamp one batch is on its way at a time, and an unclear answer is the end of it.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from tidelog.batch import Stamp
from tidelog.errors import OutcomeUnknown, TidelogError
from tidelog.outgoing import Batch, Stored
from tidelog.retry import gave_up

IN_FLIGHT_MAX: Final = 5
"""Batches of one producer and partition that may be unanswered: as many as a node remembers."""
SEQUENCE_END: Final = 1 << 31
"""After the last sequence comes 0."""

OUT_OF_ORDER: Final = "OUT_OF_ORDER_SEQUENCE"
DUPLICATE: Final = "DUPLICATE_SEQUENCE"
EXPIRED_PRODUCER: Final = "UNKNOWN_PRODUCER_ID"
TOO_LARGE: Final = "RECORD_TOO_LARGE"


class Identity(NamedTuple):
    """A producer id and its epoch."""

    producer_id: int
    producer_epoch: int


class Settled(NamedTuple):
    """A batch whose fate is known."""

    batch: Batch
    result: Stored | TidelogError


class Lane:
    """The batches of one partition."""

    def __init__(self, *, idempotent: bool) -> None:
        """Begin empty."""
        self.idempotent = idempotent
        self._in_flight_max = IN_FLIGHT_MAX if idempotent else 1
        self.waiting: deque[Batch] = deque()
        """To be sent, in order."""
        self.in_flight: deque[Batch] = deque()
        """Sent and not answered, in order."""
        self.again: list[Batch] = []
        """Answered, to be sent again once nothing is in flight; in order."""
        self.paused = False
        """Sends nothing until `resume`: a node asked for time."""
        self.tries = 0
        """Refusals in a row, for the length of the pause."""
        self.last_error: TidelogError | None = None
        self._identity: Identity | None = None
        self._retired: Identity | None = None
        """The last one that was given up: never taken again."""
        self._sequence = 0

    def __len__(self) -> int:
        """Return how many batches are not settled."""
        return len(self.waiting) + len(self.in_flight) + len(self.again)

    @property
    def has_room(self) -> bool:
        """Whether one more batch would be next to go out, and not wait behind others."""
        return not self.waiting and not self.again and len(self.in_flight) < self._in_flight_max

    def batches(self) -> Iterator[Batch]:
        """Yield every batch that is not settled, in order."""
        yield from self.in_flight
        yield from self.again
        yield from self.waiting

    def add(self, batch: Batch) -> None:
        """Put a batch behind the others."""
        self.waiting.append(batch)

    def take(self, identity: Identity | None) -> Batch | None:
        """Return the batch to send now, stamped; None: there is none, or it has to wait.

        `identity`: of the producer, for the batches that have no stamp yet.
        """
        if self.paused or not self.waiting:
            return None
        if len(self.in_flight) >= self._in_flight_max:
            return None
        batch = self.waiting[0]
        if self.idempotent and batch.stamp is None:
            if self.lacks(identity) or any(self._is_stale(one) for one in self.in_flight):
                return None
            self._stamp(batch, identity)
        self.waiting.popleft()
        self.in_flight.append(batch)
        return batch

    def lacks(self, identity: Identity | None) -> bool:
        """Tell whether the next batch needs another producer id than this one."""
        if not self.idempotent or self._identity is not None:
            return False
        if not self.waiting or self.waiting[0].stamp is not None:
            return False
        return identity is None or identity == self._retired

    def answered(self, batch: Batch, result: Stored | TidelogError) -> list[Settled]:
        """Take the answer to a batch in flight; return what is settled by it."""
        self.in_flight.remove(batch)
        settled = self._settle(batch, result)
        if not self.in_flight and self.again:
            self.waiting.extendleft(reversed(self.again))
            self.again.clear()
        return settled

    def broken(self, error: TidelogError) -> list[Settled]:
        """Take that no answer will come to what is in flight; return what is settled by it."""
        settled = []
        self.last_error = error
        unclear, self.in_flight = list(self.in_flight), deque()
        for batch in unclear:
            batch.tries += 1
            batch.error, batch.doubt = error, True
            if not self.idempotent:
                settled.append(Settled(batch, error))
        kept = [*self.again, *(unclear if self.idempotent else ())]
        self.again = []
        self.waiting.extendleft(reversed(kept))
        return settled

    def expire(self, now_s: float, error: TidelogError | None = None) -> list[Settled]:
        """Give up the batches whose budget is over and that are not in flight.

        `error`: why none of them could be sent; else it is what the last try ended with.
        """
        settled = []
        for queue in (self.again, self.waiting):
            for batch in [one for one in queue if one.deadline_s <= now_s]:
                last = error or batch.error or self.last_error
                if last is not None:
                    queue.remove(batch)
                    self._give_up(batch)
                    tried = gave_up(now_s - batch.sealed_s, max(batch.tries, 1))
                    settled.append(Settled(batch, verdict(batch, last.after(tried))))
        return settled

    def fail(self, error: TidelogError) -> list[Settled]:
        """Give up everything: nothing that is sent would be answered otherwise."""
        for batch in self.in_flight:
            batch.doubt = True
        every = list(self.batches())
        self.in_flight.clear()
        self.again.clear()
        self.waiting.clear()
        self._retire()
        return [Settled(batch, verdict(batch, error)) for batch in every]

    def resume(self) -> None:
        """Send again."""
        self.paused = False

    def _settle(self, batch: Batch, result: Stored | TidelogError) -> list[Settled]:
        if isinstance(result, Stored):
            self.tries = 0
            return [Settled(batch, result)]
        batch.tries += 1
        batch.error = self.last_error = result
        if result.reason == DUPLICATE:
            return [Settled(batch, Stored(None, None, duplicate=True))]
        if result.reason == OUT_OF_ORDER and batch.stamp is not None:
            return self._out_of_order(batch, result)
        unknown = result.outcome == "unknown"
        if result.reason == EXPIRED_PRODUCER and not batch.doubt:
            self._give_up(batch)
            batch.stamp = None
            self._pause(batch)
        elif result.retryable and (self.idempotent or not unknown):
            batch.doubt = batch.doubt or unknown
            self._pause(batch)
        else:
            self._give_up(batch)
            if result.reason != TOO_LARGE or len(batch.rows) == 1 or batch.doubt:
                return [Settled(batch, verdict(batch, result))]
            self.again.extend(batch.halves())
        return []

    def _out_of_order(self, batch: Batch, result: TidelogError) -> list[Settled]:
        """A batch before it is missing, so it is not in the log itself, whatever came before."""
        batch.doubt = False
        if self._is_stale(batch):
            batch.stamp = None
        elif not self.again:  # none that we know of: the log has lost what it acknowledged
            self._give_up(batch)
            return [Settled(batch, result)]
        self.again.append(batch)
        return []

    def _pause(self, batch: Batch) -> None:
        """Send a batch again, but not at once."""
        self.again.append(batch)
        self.paused = True
        self.tries += 1

    def _stamp(self, batch: Batch, identity: Identity | None) -> None:
        if self._identity is None:
            self._identity, self._sequence = identity, 0
        assert self._identity is not None
        batch.stamp = Stamp(*self._identity, self._sequence)
        self._sequence = (self._sequence + len(batch.rows)) % SEQUENCE_END

    def _give_up(self, batch: Batch) -> None:
        """Leave a hole in the sequence: what comes behind it needs another identity."""
        if batch.stamp is not None and not self._is_stale(batch):
            self._retire()

    def _retire(self) -> None:
        if self._identity is not None:
            self._retired, self._identity = self._identity, None

    def _is_stale(self, batch: Batch) -> bool:
        """Tell whether a batch bears the stamp of an identity that was given up."""
        return batch.stamp is not None and batch.stamp[:2] != self._identity


def verdict(batch: Batch, error: TidelogError) -> TidelogError:
    """Return what a batch that is given up fails with: after a doubtful try, nobody knows."""
    if not batch.doubt or error.outcome == "unknown":
        return error
    return OutcomeUnknown(
        f"{error.text}; an earlier try may have stored it",
        reason=error.reason,
        outcome="unknown",
        metadata=error.metadata,
    )
