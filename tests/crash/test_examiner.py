"""The examiner examined: it passes a store that is right and catches each that is not."""

import random
from collections.abc import Iterator, Sequence

import pytest

from api.sim.platter import Platter
from api.sim.power_cut import Pending
from api.sim.trace import Mark, Replay, Step, Sync
from tests.crash.explore import Explorer, Outcome, Seen, sweep
from tests.crash.models import MODELS, coarse, ordered, weak
from tests.crash.toy_store import Bug, Toy

RECORDS = 10


class Killed(Toy):
    """Judged after kills alone."""

    def check(self, outcome: Outcome, said: Sequence[object], *, killed: bool) -> Iterator[str]:
        if killed:
            yield from super().check(outcome, said, killed=killed)


def explore(bug: Bug, model: str = "weak") -> Seen:
    toy = Toy(bug)
    return Explorer(toy, seed=1, violations_max=1).explore(toy.record(RECORDS), MODELS[model])


@pytest.mark.parametrize("model", MODELS)
def test_a_store_that_is_right_passes(model: str) -> None:
    seen = explore(Bug.NONE, model)
    assert seen.violations == []
    assert len(seen.crashed) >= (100 if model == "weak" else 20)
    assert len(seen.cut_again) * 10 >= len(seen.crashed)


@pytest.mark.parametrize("bug", [bug for bug in Bug if bug is not Bug.NONE])
def test_a_store_that_is_wrong_is_caught(bug: Bug) -> None:
    assert explore(bug).violations


def test_a_fault_of_recovery_shows_only_in_a_second_crash() -> None:
    violations = explore(Bug.RECOVERY_IN_PLACE).violations
    assert {violation.second for violation in violations} == {True}


@pytest.mark.parametrize(
    ("bug", "inside_recovery"),
    [(Bug.NO_SYNC, set()), (Bug.ACK_BEFORE_SYNC, {False}), (Bug.RECOVERY_IN_PLACE, {True})],
)
def test_a_kill_loses_no_write_and_is_tried_inside_recovery(
    bug: Bug, inside_recovery: set[bool]
) -> None:
    toy = Killed(bug)
    explorer = Explorer(toy, seed=1, violations_max=1)
    seen = explorer.explore(toy.record(RECORDS), lambda pending, _: iter([pending.everything]))
    assert {violation.second for violation in seen.violations} == inside_recovery


def test_every_sync_of_a_store_that_is_right_is_needed() -> None:
    toy = Toy(Bug.NONE)
    found = list(sweep(toy, toy.record(RECORDS), [coarse, weak], seed=1))
    assert len(found) >= RECORDS
    assert [each for each in found if each.caught is None] == []


def test_a_sync_too_many_is_found() -> None:
    toy = Toy(Bug.NONE)
    recording = toy.record(RECORDS)
    steps: list[Step] = []
    for step in recording.steps:
        steps += [step, step] if isinstance(step, Sync) and step.name == "log" else [step]
    found = sweep(toy, recording._replace(steps=steps), [coarse, weak], seed=1)
    twice = [each for each in found if each.caught is None]
    assert len(twice) == 2 * RECORDS


def test_what_is_wrong_anyway_is_not_taken_for_a_sync_that_is_missed() -> None:
    toy = Toy(Bug.NO_DIRECTORY_SYNC)
    found = list(sweep(toy, toy.record(RECORDS), [coarse, weak], seed=1))
    assert found
    assert [each for each in found if each.caught is not None or each.anyway is None] == []


def test_one_seed_gives_one_run() -> None:
    first, second = explore(Bug.NONE), explore(Bug.NONE)
    assert (first.tried, first.crashed, first.recovered) == (
        second.tried,
        second.crashed,
        second.recovered,
    )


def test_ordered_states_are_weak_states() -> None:
    """Where the weak model tries everything, the ordered one adds nothing."""
    toy = Toy(Bug.NONE)
    replay = Replay(Platter(toy.record(1).first))
    compared = 0
    for step in toy.record(4).steps:
        if isinstance(step, Mark):
            continue
        replay.do(step)
        pending = Pending(replay.platter)
        if pending.count() > 8:
            continue
        everything = {pending.image(kept).digest() for kept in weak(pending, random.Random(1))}
        fewer = {pending.image(kept).digest() for kept in ordered(pending, random.Random(1))}
        assert fewer <= everything
        compared += len(fewer)
    assert compared >= 30
