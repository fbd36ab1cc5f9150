"""Readers: what each was given, in which order, and what they were led past."""

from tests.chaos.checks.known import FAILED, READ, Known, Log, Written
from tests.chaos.checks.placing import Placing
from tests.chaos.history import (
    Assigned,
    Begin,
    Closed,
    Diverged,
    Drained,
    Gap,
    Garbled,
    Gave,
    Killed,
    Passed,
    Read,
)


class Place:
    """Where a reader stands in one partition."""

    __slots__ = ("appended", "epoch", "log", "position")

    def __init__(self, log: Log, position: int | None) -> None:
        """Begin there; None: at the first record, wherever it lies."""
        self.log = log
        self.position = position
        self.epoch = -1
        """Leader epoch of the last record."""
        self.appended = 0
        """Append time of the last record."""


class Reads:
    """Judges what readers write down."""

    def __init__(self, known: Known, placing: Placing) -> None:
        """Take what is known."""
        self._known = known
        self._placing = placing
        self._report = known.report
        self.places: dict[str, dict[str, Place]] = {}
        """By client and partition."""
        self.handlers = {
            Begin: self._begin,
            Assigned: self._assigned,
            Gave: self._gave,
            Read: self._read,
            Passed: self._passed,
            Gap: self._gap,
            Diverged: self._diverged,
            Garbled: self._garbled,
            Drained: self._drained,
            Killed: self._killed,
            Closed: self._closed,
        }

    def _go(self, client: str, at: str, position: int | None) -> Place:
        place = Place(self._known.log(at), position)
        self.places.setdefault(client, {})[at] = place
        return place

    def _place(self, client: str, at: str) -> Place:
        theirs = self.places.get(client)
        place = None if theirs is None else theirs.get(at)
        return self._go(client, at, None) if place is None else place

    def _begin(self, client: str, event: Begin) -> None:
        self._go(client, event.at, event.offset)

    def _assigned(self, client: str, event: Assigned) -> None:
        for at, offset in event.places.items():
            self._go(client, at, offset)

    def _gave(self, client: str, event: Gave) -> None:
        for at in event.places:
            self.places.get(client, {}).pop(at, None)

    def _killed(self, client: str, event: Killed) -> None:
        self.places.pop(event.who, None)

    def _closed(self, client: str, event: Closed) -> None:
        self.places.pop(client, None)

    def _read(self, client: str, event: Read) -> None:
        at = event.at
        place = self._place(client, at)
        log, senders = place.log, self._known.senders
        inside = False
        for offset, producer, n, count in event.runs:
            end = offset + count
            if place.position != offset:
                self._jump(client, place, offset, inside=inside)
            log.passed.add(offset, end)
            place.position = end
            inside = True
            sender = senders.get(producer)
            written = None if sender is None else sender.to.get(at)
            if written is None or n + count > len(written.cells):
                text = f"{producer}:{n + count - 1} was read at {end - 1} and not sent by then"
                self._report.tell("phantom", at, text, client, producer)
                continue
            self._placing.place(written, (offset, n, count), flag=READ, client=client)
            if written.fails:
                self._not_failed(client, written, (offset, n, count))
        self._report.counts["records read"] += sum(run[3] for run in event.runs)
        if event.epochs is not None:
            self._epochs(client, place, event)
        if event.appended is not None:
            self._append_times(client, place, event)

    def _not_failed(self, client: str, written: Written, run: tuple[int, int, int]) -> None:
        offset, n, count = run
        for each in range(n, n + count):
            if written.cells[each] & FAILED:
                name = written.producer.name
                text = f"{name}:{each} was not done for certain, and is at {offset + each - n}"
                self._report.tell("read-of-failed", written.log.at, text, client, name)

    def _jump(self, client: str, place: Place, offset: int, *, inside: bool) -> None:
        """Go elsewhere than on: back is wrong; ahead, if there was something on the way."""
        position, log = place.position, place.log
        if position is None:
            return
        if offset < position:
            rule = "int-nonmonotonic-poll" if inside else "nonmonotonic-poll"
            text = f"{client} stood at {position} and was given {offset}"
            self._report.tell(rule, log.at, text, client)
        elif not log.losing:
            log.passed.add(position, offset)
            log.skips.setdefault((position, offset), (client, inside))

    def _epochs(self, client: str, place: Place, event: Read) -> None:
        for epoch, run in zip(event.epochs or (), event.runs, strict=True):
            if epoch < place.epoch:
                text = f"the record at {run[0]} is of epoch {epoch}, one before of {place.epoch}"
                self._report.tell("epoch-back", event.at, text, client, run[1])
            place.epoch = epoch

    def _append_times(self, client: str, place: Place, event: Read) -> None:
        for time, (first, producer, n, count) in zip(event.appended or (), event.runs, strict=True):
            if time < place.appended:
                text = f"{producer}:{n} at {first} has {time} ms, one before {place.appended}"
                self._report.tell("append-time-back", event.at, text, client)
            place.appended = time
            if place.log.losing or n < self._known.written(producer, event.at).forgiven:
                continue
            for offset in range(first, first + count):
                known = place.log.append_times.set(offset, time)
                if known != time:
                    text = f"{producer}:{n} at {offset} has {known} ms, and {time} ms"
                    self._report.tell("append-time-changed", event.at, text, client)

    def _passed(self, client: str, event: Passed) -> None:
        place = self._place(client, event.at)
        if place.position != event.offset:
            self._jump(client, place, event.offset, inside=False)
            place.position = event.offset

    def _gap(self, client: str, event: Gap) -> None:
        place = self._place(client, event.at)
        place.log.start = max(place.log.start, event.start)
        if place.position is not None:
            place.position = max(place.position, event.start)

    def _diverged(self, client: str, event: Diverged) -> None:
        if not self._known.log(event.at).era:
            text = f"{client} was told to undo from {event.offset} on"
            self._report.tell("divergence", event.at, text, client)
        self._go(client, event.at, event.offset)

    def _garbled(self, client: str, event: Garbled) -> None:
        place = self._place(client, event.at)
        if place.position != event.offset:
            self._jump(client, place, event.offset, inside=False)
        place.position = event.offset + 1
        text = f"{client} was given at {event.offset} what nobody has sent: {event.text}"
        self._report.tell("garbled", event.at, text, client)

    def _drained(self, client: str, event: Drained) -> None:
        if event.group is None:
            self._known.log(event.at).drained = event.end
