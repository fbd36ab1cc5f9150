"""Ends of one node under load, one after the other, and the judgement after each.

Load, end, start on the same directory, the same producers until they are quiet, everything read
back. How the node ends is the caller's: killed, or without power.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Any, Final, Protocol

from tests.kill.era import Era, SenderPlan, Stuck, TopicPlan
from tests.kill.group_ledger import GroupLedger
from tests.kill.group_load import GroupPlan, GroupsStuck
from tests.kill.group_report import group_report
from tests.kill.ledger import Ledger
from tests.kill.moment import Phase
from tests.kill.node_process import NodeFailed, NodeProcess
from tests.kill.strike import Struck
from tests.kill.verifier import Reading

ENDS_PER_ERA: Final = 6
ERA_RECORDS_MAX: Final = 80_000
"""Records acknowledged in an era, after which another begins: all of them are read each time."""
ANSWERS: Final = (1_500, 6_000)
"""Records answered between a start and the search for a moment."""
COMMITS: Final = 20
"""Commits acknowledged to members, and as many from outside, before each search for a moment."""
PROBLEMS_SHOWN: Final = 10
CLEAN_EXIT: Final = 0
SETTINGS: Final = (
    "log.journal_file_bytes=512KiB",
    "log.journal_files_max=4",
    "log.checkpoint_bytes=512KiB",
    "log.checkpoint_ms=500ms",
    "log.direct_append_bytes_min=32KiB",
    "log.round_journal_bytes_max=128KiB",
    "log.index_interval_bytes=1KiB",
    "log.tail_bytes=64KiB",
    "log.open_files_max=32",
    "log.loaded_segments_max=16",
    "logging.format=json",
    "logging.repeats_per_minute=1000000",
)
"""Small: files are recycled, rolled and closed all the time."""


class End(Protocol):
    """Ends the node under load; afterwards its directory is as a start will find it."""

    def __call__(
        self, node: NodeProcess, era: Era, *, rand: Random, wanted: Phase | None
    ) -> Struck: ...


@dataclass(slots=True)
class Tally:
    """What a run has seen."""

    ends: int = 0
    phases: Counter[Phase] = field(default_factory=Counter)
    unseen: int = 0
    """Ends without a look."""
    missed: int = 0
    """Ends in another moment than was wished for: it did not come."""
    in_flight: list[int] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    answered: int = 0
    read_back: int = 0
    doubled: int = 0
    replayed_entries: int = 0
    dropped_bytes: int = 0
    lost: int = 0
    """Acknowledged records that are not where they were said to be."""
    problems: list[str] = field(default_factory=list)
    books: list[GroupLedger] = field(default_factory=list)
    """What the groups of each era were promised."""
    commits_in_flight: list[int] = field(default_factory=list)
    """Rows of commits without an answer at each end."""

    def struck(self, how: Struck) -> None:
        """Count an end."""
        self.ends += 1
        self.in_flight.append(how.in_flight)
        self.phases.update(how.phases)
        self.unseen += how.wanted is None
        self.missed += how.wanted is not None and how.wanted not in how.phases

    def read(self, reading: Reading) -> None:
        """Count a reading."""
        self.read_back += reading.records
        self.doubled += reading.doubled

    def judged(self, ledger: Ledger) -> None:
        """Take over what was found wrong in an era; nothing follows it."""
        self.lost += ledger.lost
        self.problems.extend(ledger.problems)
        self.problems.extend(problem for book in self.books[-1:] for problem in book.problems)

    def recovered(self, events: Sequence[dict[str, Any]], odd: Sequence[str]) -> None:
        """Judge what a node says about its start: an end like that damages nothing."""
        for event in events:
            match event["event"]:
                case "node_recovered":
                    self.replayed_entries += event["replayed_entries"]
                    self.dropped_bytes += event["dropped_bytes"]
                case "recovery_dropped" if not event["why"] or not event["file"]:
                    self.problems.append(f"a drop without a reason: {event}")
                case "recovery_repaired" | "node_failed" | "storage_failed" | "log_corrupt":
                    self.problems.append(f"the node says: {event}")
                case "request_failed" | "partition_stray":
                    self.problems.append(f"the node says: {event}")
                case _:
                    pass
        self.problems.extend(f"the node printed: {line}" for line in odd[:3])


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign does."""

    topics: Sequence[TopicPlan]
    senders: Sequence[SenderPlan]
    wishes: Sequence[Phase | None]
    """Moments to end in, each as often as the others."""
    end: End
    groups: Sequence[GroupPlan] = ()
    """Groups that consume and commit beside the load."""
    begun: Callable[[], None] = lambda: None
    """Called when an era has its topics, before anything is written to them."""


class Campaign:
    """Ends of one node, one after the other."""

    def __init__(
        self, node: NodeProcess, plan: Plan, *, seed: int, say: Callable[[str], None]
    ) -> None:
        """Work with a node that does not run yet."""
        self.tally = Tally()
        self._node = node
        self._plan = plan
        self._rand = Random(seed)
        self._say = say
        self._wishes: list[Phase | None] = []
        self._era: Era | None = None
        self._eras = 0
        self._ends_in_era = 0

    def run(self, ends: int) -> Tally:
        """End it so often; stop at the first broken promise."""
        tally = self.tally
        try:
            tally.ready_s.append(self._node.start())
            for _ in range(ends):
                self._one_end(self._an_era())
                if tally.problems:
                    break
            if self._era is not None and not tally.problems:
                self._stop_in_order(self._era)
        except (Stuck, GroupsStuck, NodeFailed, TimeoutError) as broken:
            tally.problems.append(f"{type(broken).__name__}: {broken}")
            self._judge_what_is_left()
        finally:
            if self._era is not None:
                self._era.load.pause()
            self._node.close()
        return tally

    def _an_era(self) -> Era:
        """Return the era, another one if it is time."""
        era = self._era
        if era is not None:
            full = era.ledger.answered() >= ERA_RECORDS_MAX
            if not full and self._ends_in_era < ENDS_PER_ERA:
                return era
            era.end(delete=True)
        era = self._era = Era(
            self._eras,
            self._node.doors,
            topics=self._plan.topics,
            senders=self._plan.senders,
            groups=self._plan.groups,
        )
        self.tally.books.append(era.load.groups.book)
        self._eras, self._ends_in_era = self._eras + 1, 0
        self._plan.begun()
        return era

    def _one_end(self, era: Era) -> None:
        node, tally = self._node, self.tally
        if not self._wishes:
            self._wishes = self._rand.sample(self._plan.wishes, len(self._plan.wishes))
        wanted = self._wishes.pop()
        before = era.ledger.answered()
        era.load.go()
        era.answered_more(self._rand.randrange(*ANSWERS))
        groups = era.load.groups
        groups.acked_more(COMMITS)
        unanswered = groups.book.in_flight
        struck = self._plan.end(node, era, rand=self._rand, wanted=wanted)
        tally.struck(struck)
        self._ends_in_era += 1
        era.load.pause()
        ready_s = node.start()
        tally.ready_s.append(ready_s)
        tally.recovered(node.events(), node.odd_lines())
        era.drain()
        groups.check()
        tally.commits_in_flight.append(groups.book.in_flight - unanswered)
        reading = era.read_back()
        tally.read(reading)
        tally.answered += era.ledger.answered() - before
        tally.judged(era.ledger)
        self._say(
            f"{tally.ends}: {'unseen' if wanted is None else wanted.value}"
            f" after {struck.looks} looks, in {_named(struck)}; {struck.in_flight} in flight,"
            f" ready in {ready_s:.1f} s, {reading.records} read back"
        )

    def _judge_what_is_left(self) -> None:
        """Say what was lost although the clients cannot go on."""
        era = self._era
        if era is None:
            return
        if self._node.running:
            era.load.pause()
            self.tally.read(era.read_back())
        self.tally.judged(era.ledger)

    def _stop_in_order(self, era: Era) -> None:
        """Stop the node in order, and let it start once more on what it left."""
        code = self._node.terminate()
        if code != CLEAN_EXIT:
            self.tally.problems.append(f"a stop in order ended with {code}")
        self.tally.recovered(self._node.events(), self._node.odd_lines())
        self._node.start()
        era.load.groups.check()
        self.tally.read(era.read_back())
        self.tally.judged(era.ledger)
        era.end(delete=False)


def _named(struck: Struck) -> str:
    calls = sorted(f"{doing.call.value} {doing.name.rpartition('/')[2]}" for doing in struck.doing)
    return ", ".join(sorted(phase.value for phase in struck.phases) + calls) or "?"


def report(tally: Tally) -> str:
    """Return the outcome for people."""
    lines = [
        f"in flight at an end: at least {min(tally.in_flight, default=0)}, "
        f"median {median(tally.in_flight or [0]):.0f}",
        f"acknowledged: {tally.answered}; read back and compared: {tally.read_back}; "
        f"doubled without idempotence: {tally.doubled}",
        f"ready afterwards: median {median(tally.ready_s or [0]):.2f} s, "
        f"longest {max(tally.ready_s, default=0):.2f} s",
        f"recovery: {tally.replayed_entries} journal entries replayed, "
        f"{tally.dropped_bytes} bytes dropped",
        *group_report(tally.books, tally.commits_in_flight),
        f"acknowledged records lost: {tally.lost}; broken promises: {len(tally.problems)}",
    ]
    lines += [f"BROKEN: {problem}" for problem in tally.problems[:PROBLEMS_SHOWN]]
    return "\n".join(lines) + "\n"
