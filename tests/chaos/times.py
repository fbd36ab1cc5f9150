"""How long it took until somebody else served what a stopped member had held; and who waited.

Deadlines count from the members' own stamps: from before a process was killed, from before a silent
member began to say its last word. Nothing is added for a busy machine. A new owner that stops
itself before the deadline is the one exception: from there its own deadline counts.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.chaos.journal import AnyEvent, Lag, Produced, Synced
from tests.chaos.plan import KEPT_STALL_MS, KILLED_MS
from tests.chaos.story import STRUCK, Hold, Story
from tests.chaos.streams import STAMP_MS, Membership

RESUME_MS: Final = 2_000
CLOCK_MS: Final = 20.0
"""The wall clock, which the log has its times of, may have moved so much against the other one."""
BACK_MS: Final = KILLED_MS - RESUME_MS
"""An owner whose stream was broken meanwhile serves so soon after it is back."""


@dataclass(slots=True)
class Times:
    """What was measured, in ms."""

    killed: list[float] = field(default_factory=list)
    """From each kill or cut to the first record that another member got, by partition."""
    silent: list[float] = field(default_factory=list)
    """The same from the end of the session timeout."""
    given: list[float] = field(default_factory=list)
    """From a kill or cut to the log's record of another owner."""
    superseded: int = 0
    """Partitions whose new owner stopped as well before it served anything."""
    stalls: list[float] = field(default_factory=list)
    """The longest wait in each hold that lasted while somebody stopped."""
    lag_ms: float = 0.0
    """The longest that a process of members stood still."""
    disk_ms: float = 0.0
    """The longest that the disk took for a byte of somebody else."""
    problems: list[str] = field(default_factory=list)


class Kept(NamedTuple):
    """A partition that a member had and was not asked to give back, from when to when."""

    member: Membership
    number: int
    since: float
    until: float


class Clockwork:
    """Measures a run."""

    def __init__(
        self, story: Story, members: dict[str, Membership], syncs: Sequence[Synced]
    ) -> None:
        """Compare the log with what members wrote down; `syncs` of the disk that took long."""
        self.times = Times(disk_ms=max((sync.ms for sync in syncs), default=0.0))
        self._story = story
        self._members = members
        self._syncs = syncs

    def takeovers(self) -> None:
        """Look at every hold that ended because its member had stopped."""
        for holds in self._story.holds.values():
            for at, hold in enumerate(holds):
                if hold.how in STRUCK:
                    self._takeover(hold, holds[at + 1 :])

    def stalls(self, events: Iterable[AnyEvent]) -> None:
        """Look at everything that members kept while another one stopped."""
        produced: dict[int, list[Produced]] = {}
        lags: dict[str, list[Lag]] = {}
        for event in events:
            if isinstance(event, Produced):
                produced.setdefault(event.partition, []).append(event)
            elif isinstance(event, Lag):
                lags.setdefault(event.who, []).append(event)
                self.times.lag_ms = max(self.times.lag_ms, event.ms)
        stops = sorted(
            hold.ended for hold in self._story.every_hold() if hold.ended and hold.how != ""
        )
        for member in self._members.values():
            for number, since, until in member.kept:
                lasted = bisect_left(stops, since) < bisect_left(stops, until)
                if lasted:
                    kept = Kept(member, number, since, until)
                    waits = _waits(kept, produced.get(number, []))
                    self._stall(kept, waits, lags.get(member.who, []))

    def _stall(self, kept: Kept, waits: list[tuple[float, float]], lags: list[Lag]) -> None:
        if not waits:
            return
        self.times.stalls.append(max(to - since for since, to in waits))
        for since, to in waits:
            still = sum(lag.ms for lag in lags if since < lag.at and lag.at - lag.ms < to)
            if to - since - still > KEPT_STALL_MS:
                self.times.problems.append(
                    f"{kept.member.who} kept {kept.number} and got nothing for "
                    f"{to - since:.0f} ms; its process stood still for {still:.0f} ms of them"
                    f"{self._disk(since, to)}"
                )
                return

    def _takeover(self, hold: Hold, later: list[Hold]) -> None:
        member, ended = self._members.get(hold.who), hold.ended or 0.0
        if member is None or not member.strikes:
            if member is not None and not member.left:
                text = f"{hold.who} was thrown out ({hold.how}) and had not stopped"
                self.times.problems.append(text)
            return
        self._not_early(member, hold, ended)
        silent = hold.how == "SESSION_ENDED"
        ats = [one.at for one in member.strikes]
        # Who stops while the node takes it in is a member from then on, and no sooner.
        taken_in = self._story.streams.get(hold.who, 0.0)
        began = max(min(ats) if silent else max(ats), taken_in)
        limit = max(one.until + max(0.0, taken_in - one.at) for one in member.strikes)
        served, deadline = self._served(later, hold.partition, limit)
        if served is None and not later:
            self.times.problems.append(f"{hold.partition} of {hold.who} was never given to anybody")
        elif served is None:
            self.times.superseded += 1
        else:
            if silent:
                self.times.silent.append(served - began - member.session_ms)
            else:
                self.times.killed.append(served - began)
                self.times.given.append(later[0].begun - began)
            if served > deadline:
                given = later[0].begun - began
                self.times.problems.append(
                    f"{hold.partition} of {hold.who} ({member.strikes[-1].how}) was served again "
                    f"{served - began:.0f} ms later, {served - deadline:.0f} ms too late; the "
                    f"log gave it to {later[0].who} after {given:.0f} ms"
                    f"{self._disk(began, served)}"
                )

    def _disk(self, since: float, to: float) -> str:
        """Say what the disk did meanwhile: no excuse, but where to look."""
        took = max(
            (one.ms for one in self._syncs if since < one.at and one.at - one.ms < to), default=0.0
        )
        return f"; the disk took {took:.0f} ms for a byte meanwhile" if took else ""

    def _not_early(self, member: Membership, hold: Hold, ended: float) -> None:
        """Nobody loses membership before its time is over.

        Who stops while its stream is broken has had no stream since the break.
        """
        stopped = min(one.at for one in member.strikes)
        if hold.how == "SESSION_ENDED":
            least = stopped + member.session_ms
        else:
            broken = [since for since, back in member.breaks if since < stopped < back]
            least = min([stopped, *broken]) + RESUME_MS
        if ended < least - CLOCK_MS:
            text = f"{hold.who} was given up {least - ended:.0f} ms early ({hold.how})"
            self.times.problems.append(text)

    def _served(
        self, later: list[Hold], number: int, deadline: float
    ) -> tuple[float | None, float]:
        """Return when a partition's records came to somebody again, and until when they must.

        None: whoever had it next stopped itself in time, and its own takeover is judged.
        """
        for hold in later:
            member = self._members.get(hold.who)
            if member is None:
                continue
            for since, back in member.breaks:
                if since <= deadline and back >= hold.begun:
                    deadline = max(deadline, back + BACK_MS)
            first = _first(member, number, hold)
            if first is not None:
                return first, deadline
            if member.stopped_at is not None and member.stopped_at < deadline:
                return None, deadline
        return (float("inf") if later else None), deadline


def _first(member: Membership, number: int, hold: Hold) -> float | None:
    """Return when a hold's first records came."""
    until = float("inf") if hold.ended is None else hold.ended
    for delivered in member.deliveries.get(number, ()):
        if hold.begun - STAMP_MS <= delivered.at <= until + STAMP_MS:
            return delivered.at
    return None


def _waits(kept: Kept, produced: list[Produced]) -> list[tuple[float, float]]:
    """Return for each acknowledgement while a partition was kept until when its records came.

    The first second is left out: whoever is new has to catch up.
    """
    member, number, since, until = kept
    deliveries = [one for one in member.deliveries.get(number, ()) if one.at >= since]
    found: list[tuple[float, float]] = []
    at = 0
    for one in produced:
        if not since + KEPT_STALL_MS < one.at < until - KEPT_STALL_MS:
            continue
        while at < len(deliveries) and deliveries[at].end < one.end:
            at += 1
        if at == len(deliveries):
            found.append((one.at, until))
            break
        found.append((one.at, max(one.at, deliveries[at].at)))
    return found
