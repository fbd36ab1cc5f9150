"""Each invariant of whole nodes, and of their clients, is broken once and seen to be."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import api.sim
from api.sim import world
from api.sim.breach import Breach
from api.sim.chance import chance
from api.sim.clients import Client, Ledger, Reader, check_partition
from api.sim.disk import SimDisk
from api.sim.ledger import Commits
from api.sim.loop import SimLoop
from api.sim.plan import Fault, Kind, make_plan
from api.sim.refused import Refused
from api.sim.run import Outcome, name_of, run_plan, shrink
from api.sim.votes import Votes
from cluster.raft.entry_log import DIRECTORY
from cluster.raft.member import Member
from cluster.raft.quorum_state import NAME, QuorumState, encode, save
from cluster.raft.voters import Voter
from cluster.shell.hosted_partition import HostedPartition
from logstore.replace_file import write_cache
from model.ids import NodeId, Term
from tests.sim.node_faults import FAULTS, HEAL_MS, Planted, plant

TRIES: Final = 8
"""Seeds in which a fault has to show."""
NEXT_DOOR: Final = {"ACKED_IS_COMMITTED", "COMMITTED_IS_FLUSHED", "READ_STAYS_IN_RANGE"}
"""Those that `test_sim_nodes.py` breaks."""
CASES: Final = [
    pytest.param(name, planted, id=name if not at else f"{name}-{at + 1}")
    for name, faults in FAULTS.items()
    for at, planted in enumerate(faults)
]
WEATHERS: Final = list(dict.fromkeys(one.weather for faults in FAULTS.values() for one in faults))


def failures(weather: tuple[Fault, ...] = ()) -> Iterator[Outcome]:
    for seed in range(TRIES):
        plan = replace(make_plan(seed), faults=weather, storm_ms=6_500, partitions=1)
        outcome = run_plan(replace(plan, wall_off_ms=(0, 0, 0)))
        if not outcome.is_good:
            yield outcome


@pytest.mark.parametrize(("name", "planted"), CASES)
def test_a_planted_fault_is_seen_by(
    name: str, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes of a fault may be seen by another one first, in some seeds."""
    plant(planted, monkeypatch)
    seen = list[str]()
    for outcome in failures(planted.weather):
        if outcome.failure == name:
            return
        seen.append(outcome.seen)
    pytest.fail(f"in {TRIES} seeds: {seen}")


@pytest.mark.parametrize("weather", WEATHERS, ids=[str(len(one)) for one in WEATHERS])
def test_without_a_fault_everything_holds_in_this_weather(
    weather: tuple[Fault, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "HEAL_MS", HEAL_MS)
    plan = replace(make_plan(0), faults=weather, storm_ms=6_500, partitions=1)
    assert run_plan(replace(plan, wall_off_ms=(0, 0, 0))).seen == ""


def test_no_invariant_is_left_out() -> None:
    named = {
        str(call.args[0].value)
        for file in Path(api.sim.__path__[0]).glob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if call.func.id == "Breach" and isinstance(call.args[0], ast.Constant)
    }
    assert named == FAULTS.keys() | NEXT_DOOR


# Votes.


def vote(term: int, to: int | None) -> QuorumState:
    named, voter = None if to is None else NodeId(to), Voter(NodeId(1), bytes(16))
    return QuorumState(term=Term(term), voted_for=named, directory=bytes(16), voters=(voter,))


def disks() -> dict[int, SimDisk]:
    made = {number: SimDisk() for number in (1, 2, 3)}
    for disk in made.values():
        disk.make_directory(DIRECTORY)
        disk.sync_directory("")
    return made


@pytest.mark.parametrize("then", [vote(4, 2), vote(4, None), vote(3, 1)])
def test_a_vote_is_for_one_alone_also_after_a_restart(then: QuorumState) -> None:
    machines = disks()
    votes = Votes(machines)
    save(machines[1], DIRECTORY, vote(4, 1))
    votes.look(1)
    machines[1].power_cut(lambda pending: pending.nothing)
    votes.look(1)
    save(machines[1], DIRECTORY, then)
    with pytest.raises(Breach, match="VOTES_ARE_DURABLE: the disk of node 1"):
        votes.look(1)


def test_a_vote_in_a_newer_term_is_another_one() -> None:
    machines = disks()
    votes = Votes(machines)
    for state in (vote(4, None), vote(4, 1), vote(5, None), vote(5, 2)):
        save(machines[1], DIRECTORY, state)
        votes.look(1)


def test_who_leads_has_the_votes_and_not_only_the_term() -> None:
    machines = disks()
    votes = Votes(machines)
    save(machines[1], DIRECTORY, vote(4, 1))
    save(machines[2], DIRECTORY, vote(4, 3))
    with pytest.raises(Breach, match="VOTES_ARE_DURABLE: node 1 leads in term 4"):
        votes.leads(1, 4)
    save(machines[3], DIRECTORY, vote(5, None))  # has voted in 4, and both came to its disk at once
    votes.leads(1, 4)


def test_a_vote_that_is_not_synced_is_none() -> None:
    machines = disks()
    votes = Votes(machines)
    save(machines[1], DIRECTORY, vote(4, 1))
    write_cache(machines[2], f"{DIRECTORY}/{NAME}", encode(vote(4, 1)))
    with pytest.raises(Breach, match="VOTES_ARE_DURABLE"):
        votes.leads(1, 4)
    save(machines[2], DIRECTORY, vote(4, 1))
    votes.leads(1, 4)


def test_a_vote_file_that_is_lost_is_seen() -> None:
    machines = disks()
    votes = Votes(machines)
    save(machines[1], DIRECTORY, vote(4, 1))
    votes.look(1)
    machines[1].unlink(f"{DIRECTORY}/{NAME}")
    machines[1].sync_directory(DIRECTORY)
    with pytest.raises(Breach, match="VOTES_ARE_DURABLE: the disk of node 1"):
        votes.look(1)


# What readers were shown.


def reader_of(ledger: Ledger, *values: bytes) -> Reader:
    """Return a reader of partition 0 that has read these, from offset 0 on."""
    loop = SimLoop.begin(chance("lanes", 0).randrange)
    doors: Any = (loop, loop.new_lane("r0"), chance("client", 0), None)
    reader = Reader(Client("r0", doors, (1,)), ledger, 0)
    for offset, value in enumerate(values):
        reader._took(offset, value)
    return reader


def test_another_value_at_an_offset_is_seen() -> None:
    ledger = Ledger(lambda _: 2)
    ledger.acked[0, 1] = b"p0 1 "
    with pytest.raises(Breach, match="READ_IS_COMMITTED: tide/0 at 1: b'p1 0 ', before: b'p0 1 '"):
        reader_of(ledger, b"p0 0 ", b"p1 0 ")


def test_at_the_end_what_is_lost_is_seen() -> None:
    ledger = Ledger(lambda _: 2)
    ledger.acked[0, 2] = b"p0 2 "
    with pytest.raises(Breach, match="ACKED_ONCE: tide/0 at 2: b'p0 2 ' is lost"):
        check_partition(ledger, reader_of(ledger, b"p0 0 ", b"p0 1 "), 0)


# What a group was told to have committed.


def commits(*acknowledged: int, unanswered: tuple[int, ...] = ()) -> Commits:
    """Return what was told so, in this order: those of unknown outcome may be older than others."""
    made = Commits()
    for offset in unanswered:
        made.unanswered(offset)
    for offset in acknowledged:
        made.acknowledged(offset)
    return made


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (commits(45, 59), [45]),
        (commits(59), [58]),
        (commits(59), [60]),
        (commits(59), [None]),
        (commits(59, unanswered=(45,)), [44]),
        (commits(59, unanswered=(45,)), [45, 59]),
        (commits(unanswered=(45,)), [45, None]),
    ],
    ids=[
        "a known one comes again", "one less", "one that nobody sent", "none is left",
        "not the one that may come", "what it took back comes again", "it came, and is gone",
    ],
)  # fmt: skip
def test_what_was_not_committed_last_is_seen(told: Commits, shown: list[int | None]) -> None:
    for offset in shown[:-1]:
        told.shown(offset, to="r0")
    with pytest.raises(Breach, match=f"COMMITS_NEVER_FALL: r0: {shown[-1]}, "):
        told.shown(shown[-1], to="r0")


def test_a_commit_of_unknown_outcome_may_still_come_and_only_once() -> None:
    told = commits(45, 59, unanswered=(52,))
    for offset in (59, 52, 52):
        told.shown(offset, to="r0")
    told.acknowledged(63)
    told.shown(63, to="r0")
    with pytest.raises(Breach, match="COMMITS_NEVER_FALL: r0: 52, 63 before"):
        told.shown(52, to="r0")


@pytest.mark.parametrize(
    ("reason", "may_be_done"),
    [("NO_ANSWER", True), ("NOT_SENT", False), ("LEADERSHIP_LOST", True), ("NO_QUORUM", False)],
)
def test_which_refusals_leave_the_outcome_open(reason: str, may_be_done: bool) -> None:
    assert Refused(reason).may_be_done is may_be_done


# What fails without a breach has a name too.


def falls_over(self: HostedPartition, now: Any) -> None:
    del self, now
    raise AssertionError


def votes_again(self: Member, candidate: Any) -> None:
    del self, candidate
    raise AssertionError("RAFT_ONE_VOTE_A_TERM")


@pytest.mark.parametrize(
    ("planted", "called"),
    [
        (Planted(HostedPartition, "tick_ended", falls_over), "AssertionError at cluster/shell/"),
        (
            Planted(Member, "vote", votes_again),
            "AssertionError RAFT_ONE_VOTE_A_TERM at cluster/raft/",
        ),
    ],
)
def test_what_is_raised_is_called_by_its_place(
    planted: Planted, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(planted, monkeypatch)
    assert next(failures()).failure.startswith(called)


def test_the_place_is_the_innermost_of_ours() -> None:
    with pytest.raises(AssertionError) as raised:
        _assert_in_the_disk()
    name = "AssertionError DISK_NAME_STAYS_INSIDE at api/sim/disk.py:SimDisk._parent"
    assert name_of(raised.value) == name


def _assert_in_the_disk() -> None:
    SimDisk().open("a/../b")


def test_shrinking_does_not_slip_to_another_assertion() -> None:
    """Two faults, each of which fails at a place of its own: the one that was found is kept."""
    found, other = Fault(100, Kind.KILL, 1, 10), Fault(200, Kind.PAUSE, 2, 10)
    plan = replace(make_plan(1), faults=(found, other))
    whole = run_plan(plan, until=1)

    def run_known(plan: Any) -> Outcome:
        try:
            if found in plan.faults:
                SimDisk().open("a/../b")
            elif other in plan.faults:
                SimDisk(crashable=False).power_cut(lambda pending: pending.nothing)
        except AssertionError as error:
            return replace(whole, plan=plan, failure=name_of(error))
        return replace(whole, plan=plan, failure="")

    assert run_known(plan).failure.endswith("SimDisk._parent")
    assert run_known(replace(plan, faults=(other,))).failure.endswith("SimDisk.power_cut")
    assert shrink(run_known(plan), run_known).plan.faults == (found,)
