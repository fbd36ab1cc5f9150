"""Time queries: the first record at or after the time, of those that were visible (P36).

What each query was answered is judged at the end, when all times are known: whatever lies below the
offset that was found, or below the high watermark of an answer that found nothing, was visible to
who answered. Memory: one row a query.
"""

from typing import Final, NamedTuple

from tests.chaos.checks.known import Known, Log, Times
from tests.chaos.history import Find, Found, HistoryError

CLOCKS: Final = ("event", "append")


class Query(NamedTuple):
    """A time query and its answer."""

    client: str
    log: Log
    era: int
    find: Find
    found: Found


class Queries:
    """Judges time queries."""

    def __init__(self, known: Known) -> None:
        """Take what is known."""
        self._known = known
        self._report = known.report
        self._pending: dict[tuple[str, int], tuple[Find, int]] = {}
        self._queries: list[Query] = []
        self.handlers = {Find: self._find, Found: self._found}

    def _find(self, client: str, event: Find) -> None:
        if event.clock not in CLOCKS:
            raise HistoryError(f"{client} asks for clock {event.clock!r}; it is event or append")
        self._pending[client, event.id] = event, self._known.log(event.at).era

    def _found(self, client: str, event: Found) -> None:
        pending = self._pending.pop((client, event.id), None)
        if pending is None:
            raise HistoryError(f"{client} had an answer to find {event.id}, which it did not send")
        find, era = pending
        self._queries.append(Query(client, self._known.log(find.at), era, find, event))

    def finish(self) -> None:
        """Judge every query whose log had no lossy election since it began."""
        for query in self._queries:
            self._report.counts["time queries answered"] += 1
            if query.era == query.log.era:
                self._judge(query)

    def _judge(self, query: Query) -> None:
        client, log, find, found = query.client, query.log, query.find, query.found
        times: Times = log.event_times if find.clock == "event" else log.append_times
        wanted = find.time
        if found.offset is not None:
            known = times.get(found.offset)
            for time in {found.time, known} - {None}:
                if time is not None and time < wanted:
                    text = f"{client} asked for {wanted} ms and was given {found.offset}, of {time}"
                    self._report.tell("time-before", log.at, text, client)
        end = found.hw if found.offset is None else found.offset
        if end is None:
            return
        start = log.start if found.start is None else found.start
        first = times.first(wanted, start, end)
        if first is not None:
            answer = "the end" if found.offset is None else str(found.offset)
            text = (
                f"{client} asked for {wanted} ms and was given {answer}; {first} is not before it"
            )
            self._report.tell("time-skip", log.at, text, client)
