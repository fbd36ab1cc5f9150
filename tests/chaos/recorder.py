"""What recorders of all clients share: numbering values, and folding records into runs."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from tests.chaos.history import At, Garbled, History, Read, Run, Send
from tests.chaos.stamps import Stamp, stamp_of, value_of

SHOWN_BYTES = 80
"""Of a value that nobody has sent."""


class Seen(NamedTuple):
    """A record as a reader was given it."""

    at: At
    offset: int
    value: bytes | None
    epoch: int | None
    appended: int | None


class Numbering:
    """Makes the values of one producer, and writes down that they are about to be sent."""

    def __init__(self, history: History) -> None:
        """Begin with 0 in every partition."""
        self._history = history
        self._next: dict[At, int] = {}

    def take(self, at: At, size_bytes: int, time: int | None) -> tuple[int, bytes]:
        """Return the next number and its value; from now on it counts as sent."""
        n = self._next.get(at, 0)
        self._next[at] = n + 1
        value = value_of(Stamp(self._history.client, at, n), size_bytes)
        self._history.note(Send(self._history.clock(), at=at, n=n, time=time))
        return n, value


def note_records(history: History, records: Iterable[Seen]) -> None:
    """Write down what one operation gave, each partition's records in their order."""
    t = history.clock()
    ordered = sorted(records, key=lambda record: record.at)  # keeps the order inside each
    for at, theirs in groupby(ordered, key=lambda record: record.at):
        for event in _events(t, at, list(theirs)):
            history.note(event)


def _events(t: int, at: At, records: list[Seen]) -> Iterator[Read | Garbled]:
    good: list[tuple[Seen, Stamp]] = []
    for record in records:
        stamp = stamp_of(record.value)
        if stamp is not None and stamp.at == at:
            good.append((record, stamp))
            continue
        if good:
            yield _read(t, at, good)
            good = []
        text = repr((record.value or b"")[:SHOWN_BYTES])
        yield Garbled(t, at=at, offset=record.offset, text=text)
    if good:
        yield _read(t, at, good)


def _read(t: int, at: At, records: list[tuple[Seen, Stamp]]) -> Read:
    """Fold records that follow each other, and say the same, into runs."""
    runs: list[Run] = []
    says: list[tuple[int | None, int | None]] = []
    for record, stamp in records:
        same = record.epoch, record.appended
        if runs:
            first, producer, n, count = runs[-1]
            follows = (first + count, producer, n + count)
            if follows == (record.offset, stamp.producer, stamp.n) and says[-1] == same:
                runs[-1] = first, producer, n, count + 1
                continue
        runs.append((record.offset, stamp.producer, stamp.n, 1))
        says.append(same)
    epochs = [epoch for epoch, _ in says if epoch is not None]
    appended = [time for _, time in says if time is not None]
    return Read(
        t,
        at=at,
        runs=runs,
        epochs=epochs if len(epochs) == len(runs) else None,
        appended=appended if len(appended) == len(runs) else None,
    )
