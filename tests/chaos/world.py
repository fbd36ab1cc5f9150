"""A plain model of a correct log and its clients, which writes down what each of them would.

Lists and one thread: whatever is stored is visible at once. What makes it hard for a checker is all
there: outcomes that come late, or never, or are unknown though the value is stored, or is stored
later; batches that lie in a reader's buffer; deposed leaders that still show what they have; log
starts that move on; lossy elections; a clock on which different things happen at the same time.
One fault can be planted.
"""

from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from tests.chaos.history import (
    Ack,
    AnyEvent,
    Begin,
    Diverged,
    Fail,
    Gap,
    Led,
    Lossy,
    Producer,
    Read,
    Run,
    Send,
    Shown,
    Unknown,
)

PARTITIONS = ("orders/0", "orders/1", "other/0")
NODES = (1, 2, 3)


class Kept(NamedTuple):
    """A record."""

    producer: str
    n: int
    epoch: int
    time: int | None
    appended: int


class Part:
    """A partition: every record by its offset."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.log: list[Kept | None] = []
        """None: a hole, which only a planted fault leaves."""
        self.start = 0
        self.epoch = 1
        self.appended = 1_000
        self.deposed: list[tuple[int, int]] = []
        """Epoch and end of the log of leaders that do not know yet that they are none."""
        self.cuts: list[int] = []
        self.losing = False
        self.acked_end = 0
        self.seen: set[int] = set()
        """Offsets whose records were read, or acknowledged with acks=all."""

    @property
    def end(self) -> int:
        return len(self.log)

    def runs(self, start: int, end: int) -> tuple[list[Run], list[int], list[int]]:
        """Return the records of [start, end) as a reader writes them down."""
        runs: list[Run] = []
        epochs: list[int] = []
        appended: list[int] = []
        for offset, kept in enumerate(self.log[start:end], start):
            if kept is None:
                continue
            if runs:
                first, producer, n, count = runs[-1]
                follows = (first + count, producer, n + count) == (offset, kept.producer, kept.n)
                if follows and (epochs[-1], appended[-1]) == (kept.epoch, kept.appended):
                    runs[-1] = first, producer, n, count + 1
                    continue
            runs.append((offset, kept.producer, kept.n, 1))
            epochs.append(kept.epoch)
            appended.append(kept.appended)
        return runs, epochs, appended


class Flight:
    """A send that is under way."""

    def __init__(self, part: Part, n: int, *, count: int, time: int | None) -> None:
        self.part = part
        self.n = n
        self.count = count
        self.time = time
        self.offset: int | None = None
        self.epoch = 0
        self.is_told = self.is_gone = False


class Writer:
    """A producer."""

    def __init__(self, name: str, *, acks: str, idempotent: bool) -> None:
        self.name = name
        self.acks = acks
        self.idempotent = idempotent
        self.next: defaultdict[str, int] = defaultdict(int)
        self.flights: list[Flight] = []


class Reader:
    """Somebody who reads partitions; what was fetched waits in `inbox`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fetched: dict[str, int] = {}
        self.cuts: dict[str, int] = {}
        self.marks: dict[str, int] = {}
        """High watermark of the last reply, once it is known where the reader stands."""
        self.inbox: list[Callable[[], AnyEvent]] = []
        """What is written down when it is handed out; oldest first."""


class World:
    """Everything, one random step after another."""

    def __init__(self, seed: int, plant: str = "") -> None:
        self.rand = Random(seed)
        self.plant = plant
        self.planted = False
        self.t = 1
        self.events: defaultdict[str, list[AnyEvent]] = defaultdict(list)
        self.parts = {at: Part(at) for at in PARTITIONS}
        self.writers = [
            Writer("all-1", acks="all", idempotent=True),
            Writer("all-2", acks="all", idempotent=True),
            Writer("plain", acks="all", idempotent=False),
            Writer("leader", acks="leader", idempotent=False),
        ]
        for writer in self.writers:
            self.note(writer.name, Producer, acks=writer.acks, idempotent=writer.idempotent)
        self.readers = [Reader("reader-1"), Reader("reader-2")]
        self.told: dict[tuple[int, str], int] = {}
        """Epoch that each node has told of each partition."""
        self.leaders: dict[tuple[str, int], int] = {}
        self.numbers = 0

    def note(self, client: str, kind: type[Any], **fields: Any) -> None:
        """Write something down; time goes on now and then."""
        self.t += self.rand.choice((0, 0, 1, 3))
        self.events[client].append(kind(t=self.later(client), **fields))

    def later(self, client: str) -> int:
        """Return the time; it has gone on since this client's last line: a call takes time."""
        theirs = self.events[client]
        if theirs and theirs[-1].t == self.t:
            self.t += 1
        return self.t

    def number(self) -> int:
        """Return a number that was not used before."""
        self.numbers += 1
        return self.numbers

    def strikes(self, plant: str, chance: float = 0.3) -> bool:
        """Tell whether the planted fault is to happen here; once in a run."""
        if self.plant != plant or self.planted or self.rand.random() > chance:
            return False
        self.planted = True
        return True

    # --- producers

    def send(self) -> None:
        writer = self.rand.choice(self.writers)
        part = self.rand.choice(list(self.parts.values()))
        n, count = writer.next[part.at], self.rand.randint(1, 4)
        writer.next[part.at] += count
        time = self.rand.choice((None, self.rand.randrange(1_000)))
        writer.flights.append(Flight(part, n, count=count, time=time))
        self.note(writer.name, Send, at=part.at, n=n, count=count, time=time)

    def store(self) -> None:
        """A leader appends what was sent; of an idempotent producer in the order of sending."""
        writer = self.rand.choice(self.writers)
        waiting = [one for one in writer.flights if one.offset is None and not one.is_gone]
        is_slow = writer.acks == "leader" and self.rand.random() < 0.6  # its leader may die first
        if not waiting or is_slow:
            return
        flight = self.rand.choice(waiting)
        first = next(one for one in waiting if one.part is flight.part)
        if writer.idempotent and first is not flight and self.strikes("reordered"):
            self.append(writer, flight)
        elif writer.idempotent:
            flight = first
        if flight.offset is None:
            self.append(writer, flight)
        if first.offset is None and self.planted:
            self.append(writer, first)
        twice = not writer.idempotent and self.rand.random() < 0.1  # it was sent again
        if twice or (writer.idempotent and self.strikes("doubled", 0.1)):
            self.append(writer, flight)

    def append(self, writer: Writer, flight: Flight) -> None:
        part = flight.part
        part.appended += 10 * self.rand.randrange(3)
        appended = part.appended
        if part.log and self.strikes("append-time-falls", 0.1):
            appended = 500
        epoch = part.epoch
        if part.end and epoch > 2 and self.strikes("epoch-falls-in-the-log"):
            epoch = 0
        flight.offset, flight.epoch = part.end, part.epoch
        for n in range(flight.n, flight.n + flight.count):
            part.log.append(Kept(writer.name, n, epoch, flight.time, appended))

    def tell(self) -> None:
        """A producer is told, or gives up."""
        writer = self.rand.choice(self.writers)
        open_flights = [one for one in writer.flights if not one.is_told]
        if not open_flights:
            return
        flight = self.rand.choice(open_flights)
        flight.is_told = True
        part, offset = flight.part, flight.offset
        what = {"at": part.at, "n": flight.n, "count": flight.count}
        if offset is None and writer.acks == "leader" and self.rand.random() < 0.7:
            flight.is_gone = True  # its leader died
            self.note(writer.name, Ack, **what, offset=part.end)
        elif self.rand.random() < 0.2:
            self.note(writer.name, Unknown, **what)
        elif offset is None:
            flight.is_gone = True
            self.note(writer.name, Fail, **what)
            if self.strikes("failed-is-stored"):
                self.append(writer, flight)
        elif self.rand.random() < 0.1:
            self.note(writer.name, Ack, **what)
        else:
            if writer.idempotent and self.strikes("acked-elsewhere"):
                offset += 3
            elif writer.acks == "all":
                part.seen.update(range(offset, offset + flight.count))
                part.acked_end = max(part.acked_end, offset + flight.count)
            self.note(writer.name, Ack, **what, offset=offset, epoch=flight.epoch)

    def give_up(self) -> None:
        """Something that was sent never arrives."""
        writer = self.rand.choice(self.writers)
        for flight in writer.flights:
            if flight.is_told and flight.offset is None and self.rand.random() < 0.3:
                flight.is_gone = True

    # --- the log

    def elect(self) -> None:
        part = self.rand.choice(list(self.parts.values()))
        part.deposed.append((part.epoch, part.end))
        part.epoch += self.rand.randint(1, 2)
        if part.seen and self.strikes("acked-is-lost"):
            del part.log[self.rand.choice(sorted(part.seen)) :]

    def trim(self) -> None:
        part = self.parts[self.rand.choice(PARTITIONS[:2])]  # the third one keeps everything
        part.start = self.rand.randint(part.start, part.end)

    def lose(self) -> None:
        """A lossy election is ordered; or the one that was ordered is over."""
        part = self.rand.choice(list(self.parts.values()))
        self.note("run", Lossy, at=part.at, over=part.losing)
        if not part.losing:
            cut = self.rand.randint(part.start, part.end)
            del part.log[cut:]
            part.cuts.append(cut)
            part.epoch += 1
            part.deposed.clear()
        part.losing = not part.losing

    def make_a_hole(self) -> None:
        part = self.rand.choice(list(self.parts.values()))
        if part.seen and self.strikes("hole"):
            part.log[self.rand.choice(sorted(part.seen))] = None

    # --- readers

    def fetch(self) -> None:
        """A reader is sent something, and hands it out later."""
        reader = self.rand.choice(self.readers)
        part = self.rand.choice(list(self.parts.values()))
        self.fetch_from(reader, part, self.rand.randint(1, 9))

    def fetch_from(self, reader: Reader, part: Part, most: int) -> None:
        at = part.at
        if at not in reader.fetched:
            reader.fetched[at] = self.rand.randint(part.start, part.end)
            reader.cuts[at] = len(part.cuts)
            place = self.rand.choice((None, reader.fetched[at]))
            self.note(reader.name, Begin, at=at, offset=place)
        start = reader.fetched[at]
        cut = min(part.cuts[reader.cuts[at] :], default=start)
        reader.cuts[at] = len(part.cuts)
        if cut < start or self.strikes("diverged-for-nothing", 0.1):
            start = min(cut, start)
            self._put(reader, Diverged, at=at, offset=start)
        if start < part.start:
            start = part.start
            self._put(reader, Gap, at=at, start=start)
        if at in reader.marks:
            if start and self.strikes("led-back"):
                start -= 1
            elif start + 1 < part.end and self.strikes("led-past"):
                start += 1
        end = min(part.end, start + most)
        runs, epochs, appended = part.runs(start, end)
        hw = part.end
        if reader.marks.get(at) and self.strikes("mark-falls", 0.1):
            hw = reader.marks[at] - 1
        if runs:
            self._put(reader, Read, at=at, runs=runs, epochs=epochs, appended=appended)
            part.seen.update(range(start, end))
            reader.marks[at] = hw
        reader.fetched[at] = end
        self._put(reader, Shown, at=at, hw=hw, start=part.start, epoch=part.epoch)

    def begin(self, reader: Reader, part: Part) -> None:
        """A reader begins at the log's start."""
        self.note(reader.name, Begin, at=part.at, offset=part.start)

    def _put(self, reader: Reader, kind: type[Any], **fields: Any) -> None:
        reader.inbox.append(lambda: kind(t=self.t, **fields))

    def hand_out(self) -> None:
        reader = self.rand.choice(self.readers)
        for _ in range(self.rand.randint(1, 6)):
            self.hand_out_one(reader)

    def hand_out_one(self, reader: Reader) -> None:
        if reader.inbox:
            self.t += self.rand.choice((0, 1))
            self.later(reader.name)
            self.events[reader.name].append(reader.inbox.pop(0)())

    def metadata(self) -> None:
        part, node = self.rand.choice(list(self.parts.values())), self.rand.choice(NODES)
        told = self.told.get((node, part.at), 0)
        epoch = self.rand.randint(max(1, told), part.epoch)
        self.told[node, part.at] = epoch
        if told and self.strikes("metadata-falls", 0.2):
            epoch = told - 1
        is_known = (part.at, epoch) in self.leaders
        leader = self.leaders.setdefault((part.at, epoch), self.rand.choice(NODES))
        if is_known and self.strikes("two-leaders", 0.1):
            leader = 9
        self.note("metadata", Led, at=part.at, epoch=epoch, leader=leader, node=node)
