"""Seeds of three whole nodes: they hold, they repeat anywhere, and they catch what is planted."""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.broker.acks import Acks
from api.broker.taking import Taking
from api.sim.plan import LEADER, MACHINES, Fault, Kind, TapeRefused, make_plan, read_tape
from api.sim.run import Outcome, run_plan, shrink
from api.sim.world import World
from cluster.raft import quorum_state, storage
from logstore import round_planner
from logstore.flush import written_part
from logstore.partition_log import PartitionLog
from logstore.replace_file import write_cache
from logstore.round import Part
from model.ports import Disk
from tests.models.replication_faults import plant
from tidelog.cli.program import main
from tidelog.cli.run import Run

REGRESSIONS = Path(__file__).parent / "regressions"
TAPES = sorted(REGRESSIONS.glob("*.json"))
SEEDS = range(8)
TRIES = 8
"""Seeds in which a planted fault has to show."""
SOMETIMES = (
    "cut", "led anew", "written before synced", "controller_inactive", "broker_fenced",
    "leaders_balanced",
)  # fmt: skip
SLOW_DISKS = tuple(Fault(200, Kind.SLOW_DISK, one, 5_000) for one in MACHINES)
POWER_CUTS = tuple(Fault(900 + 1_600 * at, Kind.POWER, one, 700) for at, one in enumerate(MACHINES))
REPEATED, STEPS = 3, 12_000
"""A seed with power cuts and elections, and how far two other processes run it."""


def run(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main(words, Run(environment={}, stdout=out, stderr=err))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [run_plan(make_plan(seed)) for seed in SEEDS]


def test_promises_hold_in_all_weathers(outcomes: list[Outcome]) -> None:
    assert [one.seen for one in outcomes if not one.is_good] == []


def test_a_run_is_a_run_of_something(outcomes: list[Outcome]) -> None:
    """Faults strike, elections follow, logs part and meet, clients get their answers."""
    happened: Counter[str] = Counter()
    for outcome in outcomes:
        happened += outcome.happened
        assert outcome.acked > 50
        assert outcome.virtual_ms > outcome.plan.storm_ms
    assert {what: happened[what] for what in SOMETIMES if not happened[what]} == {}
    assert sum(happened[kind.value] for kind in Kind) >= 5 * len(outcomes)


def elsewhere(hash_seed: str) -> Iterator[Any]:
    """Yield what another process says of the run, whose sets have another order."""
    words = ("sim", "run", "--seed", str(REPEATED), "--until", str(STEPS), "--json")
    ended = subprocess.run(
        [sys.executable, "-m", "tidelog", *words],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True, check=True,
    )  # fmt: skip
    yield from json.loads(ended.stdout)["items"]


def test_a_seed_is_one_run_whatever_the_order_of_sets() -> None:
    here = run_plan(make_plan(REPEATED), until=STEPS)
    assert here.is_good and here.steps == STEPS
    for hash_seed in ("0", "4242"):
        (there,) = elsewhere(hash_seed)
        assert (there["trace_hash"], there["steps"]) == (here.trace_hash, here.steps)


def test_seeds_differ() -> None:
    hashes = {run_plan(make_plan(seed), until=500).trace_hash for seed in range(5)}
    assert len(hashes) == 5


SCENARIOS = {
    "pause-kill": (Fault(500, Kind.PAUSE, LEADER, 4_000), Fault(4_300, Kind.KILL, LEADER, 1_000)),
    "part-kill": (Fault(500, Kind.ISOLATE, LEADER, 4_000), Fault(4_000, Kind.POWER, LEADER, 1_000)),
    "last replica standing": (
        Fault(500, Kind.KILL, 1, 6_000),
        Fault(2_500, Kind.KILL, 2, 4_000),
        Fault(4_500, Kind.POWER, 3, 1_000),
    ),
    "double fail-over": (
        Fault(500, Kind.SLOW_WAYS, 3, 5_000),
        Fault(1_000, Kind.KILL, LEADER, 800),
        Fault(3_500, Kind.KILL, LEADER, 800),
    ),
    "power cuts while syncs take long": (*SLOW_DISKS, *POWER_CUTS),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_how_logs_were_lost_before(scenario: str) -> None:
    plan = replace(make_plan(1), faults=SCENARIOS[scenario], storm_ms=7_000, partitions=1)
    outcome = run_plan(plan)
    assert outcome.seen == ""
    assert outcome.happened["led anew"] >= 1


def test_a_process_that_has_just_begun_has_no_node() -> None:
    world = World(make_plan(0))
    world.machines.start(1)
    with pytest.raises(AssertionError, match="SIM_NODE_IS_UP"):
        _ = world.machines.processes[1].up


# Planted faults: each is caught, and by name.


def acknowledges_what_is_written(self: Taking, acks: Acks, timeout_ms: int) -> Any:
    return _begin(self, Acks.LEADER if acks is Acks.ALL else acks, timeout_ms)


def saves_without_a_sync(disk: Disk, directory: str, state: quorum_state.QuorumState) -> None:
    write_cache(disk, f"{directory}/{quorum_state.NAME}", quorum_state.encode(state))


_begin = Taking.begin


def caught(names: str, *faults: Fault) -> None:
    """See that one of a few seeds fails by one of these names, in this weather."""
    for seed in range(TRIES):
        plan = replace(make_plan(seed), faults=faults, storm_ms=6_500, partitions=1)
        outcome = run_plan(replace(plan, wall_off_ms=(0, 0, 0)))
        if not outcome.is_good:
            assert outcome.failure in names.split(), outcome.seen
            return
    raise AssertionError(f"{names} hold in {TRIES} seeds")


def test_an_ack_before_the_mark_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Taking, "begin", acknowledges_what_is_written)
    caught("ACKED_IS_COMMITTED")


def test_a_vote_that_is_not_synced_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "save", saves_without_a_sync)
    caught("VOTES_ARE_DURABLE")


def test_a_position_that_is_not_written_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    plant("position reported before it is written", monkeypatch)
    caught("COMMITTED_IS_FLUSHED")


def test_what_is_written_and_counts_as_flushed_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant("high watermark without the flush term", monkeypatch)
    caught("COMMITTED_IS_FLUSHED", *SLOW_DISKS)


def takes_what_is_written_for_flushed(log: PartitionLog, part: Part) -> bool:
    moved = written_part(log, part)
    log.flushed_end = log.written_end
    return moved


def test_what_is_told_to_be_flushed_before_its_sync_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(round_planner, "written_part", takes_what_is_written_for_flushed)
    caught("FLUSHED_SURVIVES", *SLOW_DISKS, *POWER_CUTS)


def test_a_follower_that_does_not_cut_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    plant("logs are believed to match", monkeypatch)
    caught("COMMITTED_IS_FOREVER PROGRESS_AFTER_HEALING", Fault(500, Kind.ISOLATE, LEADER, 4_500))


def test_a_reader_told_that_its_records_are_gone_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.broker.read_on._later_epoch", lambda place: -1)
    caught("READ_STAYS_IN_RANGE", Fault(700, Kind.DEAF, LEADER, 6_000))


# Tapes.


@pytest.mark.parametrize("tape", TAPES, ids=[tape.stem for tape in TAPES])
def test_what_failed_once_holds(tape: Path) -> None:
    assert run_plan(read_tape(tape.read_text())).seen == ""


def test_a_tape_is_the_plan(tmp_path: Path) -> None:
    plan = make_plan(3)
    assert read_tape(plan.to_json()) == plan
    tape = tmp_path / "tape.json"
    tape.write_text(plan.to_json())
    code, out, _ = run("sim", "run", "--tape", str(tape), "--until", "900", "--json")
    assert code == 0
    (item,) = json.loads(out)["items"]
    assert item["trace_hash"] == run_plan(plan, until=900).trace_hash


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "a tape is an object"),
        ("{", "Expecting"),
        ('{"seed": 1}', "faults is missing"),
        ('{"seed": 1, "faults": [], "wind": 3}', "nobody knows wind"),
        (
            '{"seed": 1, "faults": [{"at_ms": 1, "kind": "rain", "machine": 1, "for_ms": 2}]}',
            "rain",
        ),
        ('{"seed": 1, "faults": [{"at_ms": 1, "kind": "kill", "machine": 9, "for_ms": 2}]}', "9"),
    ],
)
def test_what_is_no_tape_is_refused(text: str, why: str) -> None:
    with pytest.raises(TapeRefused, match=why):
        read_tape(text)


def test_a_failure_is_made_smaller() -> None:
    """The one fault that matters is left; `run` here is a run whose end is known."""
    matters = Fault(5_000, Kind.POWER_ALL, LEADER, 700)
    others = tuple(Fault(at * 100, Kind.RESET, 1, 10) for at in range(11))
    plan = replace(make_plan(1), faults=(*others[:6], matters, *others[6:]))
    tried = []

    def run_known(plan: Any) -> Outcome:
        tried.append(plan)
        failure = "SOMETHING_HOLDS" if matters in plan.faults else ""
        return Outcome(
            plan=plan, trace_hash="", steps=0, virtual_ms=0, acked=0, happened=Counter(),
            failure=failure,
        )  # fmt: skip

    assert shrink(run_known(plan), run_known).plan.faults == (matters,)
    assert len(tried) < 20


def test_what_fails_is_told_with_its_trace_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Taking, "begin", acknowledges_what_is_written)
    tape = tmp_path / "failed.json"
    code, out, err = run("sim", "run", "--seed", "0", "--seeds", "3", "--save", str(tape))
    assert code == 1
    assert "ACKED_IS_COMMITTED" in out and "ACKED_IS_COMMITTED" in err
    assert "tidelog sim run --seed 0 --trace" in err
    assert len(out.splitlines()) == 2  # the first that fails ends it
    assert read_tape(tape.read_text()).faults == ()
