"""Crashes of the log store, a sample: `make crash` tries fifty thousand."""

import pytest

from api.sim.trace import SyncDirectory
from tests.crash.enumerate import ALL, COSTLY, leave_one_out, main, syncs_of
from tests.crash.explore import Explorer, some_cuts, sweep
from tests.crash.models import MODELS, coarse
from tests.crash.redundant import REDUNDANT, REDUNDANT_MAX, site
from tests.crash.store import Store, record
from tests.crash.workloads import DISK_FULL, WORKLOADS

SEED = 1
CUTS = {"weak": 2, "ext4-ordered": 6, "drawn": 6}
MANY = ("journal/N.wal", "partitions/P/N.log", "partitions/P/N.times")
"""Kinds of files of which a run has so many syncs that only one in so many is left out here."""
MANY_LEFT_OUT_EVERY = 24


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name.startswith(COSTLY) else [])
        for name in ALL
    ],
)
def test_no_crash_loses_or_invents_anything(name: str, model: str) -> None:
    recording = record(name, SEED)
    cuts = some_cuts(recording.steps, CUTS[model], SEED)
    seen = Explorer(Store(), seed=SEED).explore(recording, MODELS[model], cuts=cuts)
    assert [each.what for each in seen.violations] == []
    assert seen.crashed or name.endswith(DISK_FULL)  # it may have been full at once


def test_what_is_begun_after_a_crash_is_crashed_as_well() -> None:
    """An even seed begins with a directory that has lost its power."""
    recording = record("leaders", 2)
    cuts = some_cuts(recording.steps, CUTS["drawn"], 2)
    seen = Explorer(Store(), seed=2).explore(recording, MODELS["drawn"], cuts=cuts)
    assert [each.what for each in seen.violations] == []


def test_the_number_of_processes_changes_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--states", "40", "--workload", "first_start", "--workload", "clock", "--no-sweep"]
    assert main([*arguments, "--jobs", "1"]) == 0
    alone = capsys.readouterr().out
    assert main([*arguments, "--jobs", "2"]) == 0
    assert capsys.readouterr().out == alone
    assert "PASS" in alone


def test_each_sync_is_noticed_or_written_down() -> None:
    """Each of a kind of which there are few, some of the others; `make crash` leaves out each."""
    steps = record("every_sync", SEED).steps
    syncs = [at for at in syncs_of("every_sync", SEED) if site(steps, at) not in REDUNDANT]
    few = [at for at in syncs if site(steps, at) not in MANY]
    many = [at for at in syncs if site(steps, at) in MANY]
    asked = [*few, *many[::MANY_LEFT_OUT_EVERY]]
    left_out = [leave_one_out(("every_sync", SEED, at)) for at in asked]
    assert len(few) > 40
    assert len(many) > 150
    assert [each for each in left_out if not each.noticed] == []
    assert len(REDUNDANT) <= REDUNDANT_MAX
    assert not any(where.startswith("directory") for where in REDUNDANT)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_run_is_the_same_every_time(name: str) -> None:
    record.cache_clear()
    first = record(name, SEED).steps
    record.cache_clear()
    assert record(name, SEED).steps == first


def test_without_one_sync_of_a_round_an_acknowledged_record_is_lost() -> None:
    found = list(sweep(Store(), record("commit_rounds", SEED), [coarse], seed=SEED))
    assert len(found) >= 5
    assert [each for each in found if each.caught is None] == []


def test_without_the_sync_of_a_directory_a_direct_run_is_lost() -> None:
    recording = record("direct_runs_to_new_files", SEED)
    lost = [
        each
        for each in sweep(Store(), recording, [coarse], seed=SEED)
        if isinstance(each.step, SyncDirectory) and "/" in each.step.name
    ]
    assert any(each.caught for each in lost)
