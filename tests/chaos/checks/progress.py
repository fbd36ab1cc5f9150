"""Progress: once everything has healed, nothing and nobody waits for longer than the limit (P51).

Judged once for each time that everything had healed and stayed so for the limit. A client that was
killed or has closed owes nothing.
"""

from typing import Final, NamedTuple

from tests.chaos.checks.known import Known
from tests.chaos.checks.reads import Reads
from tests.chaos.history import (
    Ack,
    Ask,
    Closed,
    Commit,
    Committed,
    Fault,
    Find,
    Found,
    Healed,
    Killed,
    Look,
    Looked,
    Send,
    Shown,
)

NEVER: Final = 1 << 62
KINDS: Final[dict[object, str]] = {
    Ask: "asked for the edges",
    Find: "asked for a time",
    Commit: "committed",
    Look: "asked for a group's offsets",
}


class Standing(NamedTuple):
    """What is known at the moment at which everything had healed."""

    at_us: int
    positions: dict[tuple[str, str], int]
    """Of readers that have something to read, by client and partition."""


class Progress:
    """Judges whether everybody goes on."""

    def __init__(self, known: Known, reads: Reads, limit_us: int) -> None:
        """Take what is known."""
        self._known = known
        self._report = known.report
        self._reads = reads
        self._limit_us = limit_us
        self.due = NEVER
        """When to look, in µs: the first event that is not earlier is to be preceded by it."""
        self._standing: Standing | None = None
        self._gone: set[str] = set()
        self._waiting: dict[tuple[str, str, int], int] = {}
        """Since when each request waits: by client, kind and number."""
        self._sent: dict[str, str] = {}
        """Partitions that were sent to early enough after healing, and by whom."""
        self._acked: set[str] = set()
        self.handlers = {
            Fault: self._fault,
            Healed: self._healed,
            Killed: self._killed,
            Closed: self._closed,
            Send: self._send,
            Ack: self._ack,
            **dict.fromkeys((Ask, Find, Commit, Look), self._asked),
            **dict.fromkeys((Shown, Found, Committed, Looked), self._answered),
        }

    def _fault(self, client: str, event: Fault) -> None:
        self.due = NEVER
        self._standing = None

    def _healed(self, client: str, event: Healed) -> None:
        positions = {
            (reader, at): place.position
            for reader, places in self._reads.places.items()
            for at, place in places.items()
            if place.position is not None and place.position <= place.log.acked_floor
        }
        self._standing = Standing(event.t, positions)
        self._sent.clear()
        self._acked.clear()
        self.due = event.t + self._limit_us

    def _killed(self, client: str, event: Killed) -> None:
        self._leave(event.who)

    def _closed(self, client: str, event: Closed) -> None:
        self._leave(client)

    def _leave(self, client: str) -> None:
        self._gone.add(client)
        for key in [key for key in self._waiting if key[0] == client]:
            del self._waiting[key]

    def _send(self, client: str, event: Send) -> None:
        if self._standing is not None and event.t <= self._standing.at_us + self._limit_us // 2:
            self._sent.setdefault(event.at, client)

    def _ack(self, client: str, event: Ack) -> None:
        if self._standing is not None:
            self._acked.add(event.at)

    def _asked(self, client: str, event: Ask | Find | Commit | Look) -> None:
        self._waiting[client, KINDS[type(event)], event.id] = event.t

    def _answered(self, client: str, event: Shown | Found | Committed | Looked) -> None:
        number = event.asked if isinstance(event, Shown) else event.id
        if number is None:
            return
        kind = {Shown: Ask, Found: Find, Committed: Commit, Looked: Look}[type(event)]
        self._waiting.pop((client, KINDS[kind], number), None)

    def look(self) -> None:
        """Judge, once the limit has passed."""
        self.due = NEVER
        standing, self._standing = self._standing, None
        if standing is None:
            return
        self._senders(standing)
        self._readers(standing)
        for (client, kind, _), since in self._waiting.items():
            if since <= standing.at_us:
                self._stuck(client, client, f"it {kind} and has had no answer")
        for at, client in self._sent.items():
            if at not in self._acked and client not in self._gone:
                self._stuck(at, client, "nothing that was sent has been acknowledged")

    def _senders(self, standing: Standing) -> None:
        for sender in self._known.by_index:
            if sender.name in self._gone:
                continue
            for at, written in sender.to.items():
                since = written.waits_since()
                if since is not None and since <= standing.at_us:
                    text = f"{sender.name}:{written.oldest} was sent and has had no answer"
                    self._stuck(at, sender.name, text)

    def _readers(self, standing: Standing) -> None:
        for (client, at), position in standing.positions.items():
            place = self._reads.places.get(client, {}).get(at)
            if place is not None and place.position == position:
                text = f"{client} stands at {position}, and there is more to read"
                self._stuck(at, client, text)

    def _stuck(self, at: str, client: str, text: str) -> None:
        text = f"{text} {self._limit_us / 1e6:g} s after everything had healed"
        self._report.tell("stuck", at, text, client)
