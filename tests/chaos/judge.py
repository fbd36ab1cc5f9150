"""The verdict over a run: everything that was written down, held against every rule."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.journal import AnyEvent, Synced
from tests.chaos.load import Looked
from tests.chaos.plan import PARTITIONS
from tests.chaos.story import Decision, Story
from tests.chaos.streams import Membership, Streams
from tests.chaos.times import Clockwork, Times

PROBLEMS_OF_A_KIND_MAX: Final = 15


@dataclass(slots=True)
class Run:
    """What a run has left behind."""

    events: Sequence[AnyEvent]
    """In the order of their times."""
    decisions: Sequence[Decision]
    looks: Sequence[Looked]
    ends: Sequence[int]
    """Records acknowledged in each partition."""
    strikes: Mapping[str, int]
    """What the run did to members."""


@dataclass(slots=True)
class Verdict:
    """What was counted, and what was wrong."""

    problems: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """In the order in which people read them."""
    times: Times = field(default_factory=Times)
    log: Sequence[Decision] = ()
    """The group's log, to be looked into."""


def judge(run: Run) -> Verdict:
    """Apply every rule."""
    story = Story()
    for decision in run.decisions:
        story.tell(decision)
    streams = Streams(story.holds)
    streams.read(run.events)
    members = streams.members
    syncs = [event for event in run.events if isinstance(event, Synced)]
    clock = Clockwork(story, members, syncs)
    clock.takeovers()
    clock.stalls(run.events)
    delivered, distinct, missing = _coverage(members.values(), run.ends)
    verdict = Verdict(times=clock.times, log=run.decisions)
    for problems in (
        story.problems,
        streams.problems,
        clock.times.problems,
        missing,
        _acked(members.values(), story),
        _looked(members.values(), run.looks, story),
    ):
        verdict.problems += problems[:PROBLEMS_OF_A_KIND_MAX]
    acked = sum(len(member.acked) for member in members.values())
    verdict.counts = {
        "memberships": len(members),
        "members that left in order": run.strikes.get("leave", 0),
        "connections cut": run.strikes.get("cut", 0),
        "processes killed (SIGKILL)": run.strikes.get("kill", 0),
        "members gone silent": run.strikes.get("pause", 0),
        "streams broken and resumed": streams.resumed,
        "memberships ended by silence": story.left["SESSION_ENDED"],
        "memberships ended by a broken stream": story.left["RESUME_ENDED"],
        "rebalances (rises of the epoch)": story.epoch,
        "partitions given": sum(map(len, story.holds.values())),
        "records acknowledged": sum(run.ends),
        "records delivered": delivered,
        "records delivered again": delivered - distinct,
        "commits acknowledged (rows)": acked,
        "late commits refused": streams.late_refused,
        "takeovers after a kill or cut": len(clock.times.killed),
        "takeovers after silence": len(clock.times.silent),
        "partitions kept while others stopped": len(clock.times.stalls),
    }
    nothing = [what for what, count in verdict.counts.items() if not count and what not in RARE]
    verdict.problems += [f"never happened: {what}" for what in nothing]
    return verdict


RARE: Final = frozenset({"records delivered again"})


def _coverage(members: Iterable[Membership], ends: Sequence[int]) -> tuple[int, int, list[str]]:
    """Return deliveries, different records among them, and which were delivered to nobody."""
    runs: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for member in members:
        for number, deliveries in member.deliveries.items():
            runs[number] += [(one.first, one.end) for one in deliveries]
    delivered = sum(end - first for theirs in runs.values() for first, end in theirs)
    distinct, missing = 0, []
    for number in range(PARTITIONS):
        reached = 0
        for first, end in sorted(runs[number]):
            if first > reached:
                missing.append(f"{number}: {reached} to {first} were delivered to nobody")
            distinct += max(0, end - max(first, reached))
            reached = max(reached, end)
        if reached < ends[number]:
            missing.append(f"{number}: {reached} to {ends[number]} were delivered to nobody")
        if reached > ends[number]:
            missing.append(f"{number}: {reached} was delivered, the end is {ends[number]}")
    return delivered, distinct, missing


def _acked(members: Iterable[Membership], story: Story) -> list[str]:
    """Every commit that a member was told of is in the log, as its own."""
    there = {(commit.who, commit.partition, commit.offset) for commit in story.commits}
    return [
        f"{member.who} was told that {number}@{offset} is committed; the log has nothing of it"
        for member in members
        for _, number, offset in member.acked
        if (member.who, number, offset) not in there
    ]


def _looked(members: Iterable[Membership], looks: Sequence[Looked], story: Story) -> list[str]:
    """What the node tells of the offsets never goes back, nor lies below what it acknowledged."""
    problems = []
    acked = sorted(row for member in members for row in member.acked)
    known: dict[int, int] = {}
    shown: dict[int, int] = {}
    at = 0
    for look in looks:
        while at < len(acked) and acked[at][0] < look.asked:
            _, number, offset = acked[at]
            known[number] = max(known.get(number, 0), offset)
            at += 1
        for number, offset in look.offsets.items():
            least = max(known.get(number, 0), shown.get(number, 0))
            if offset < least:
                problems.append(f"{number} was listed at {offset}, {least} was known before")
            shown[number] = max(offset, shown.get(number, 0))
    if shown != {number: offset for number, offset in story.committed.items() if number in shown}:
        problems.append("the last list of offsets is not what the log says")
    return problems
