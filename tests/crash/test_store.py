"""Crashes of the log store, a sample: `make crash` tries fifty thousand."""

import pytest

from api.sim.trace import SyncDirectory
from tests.crash.enumerate import ALL
from tests.crash.explore import Explorer, some_cuts, sweep
from tests.crash.models import MODELS, coarse
from tests.crash.store import Store, record
from tests.crash.workloads import WORKLOADS

SEED = 1
CUTS = 8
# A state of these costs ten times that of the others: many partitions, or a full journal.
COSTLY = ("many_partitions", "recycle")


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
    cuts = some_cuts(recording.steps, CUTS, SEED)
    seen = Explorer(Store(), seed=SEED).explore(recording, MODELS[model], cuts=cuts)
    assert [each.what for each in seen.violations] == []
    assert len(seen.crashed) > 3


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
