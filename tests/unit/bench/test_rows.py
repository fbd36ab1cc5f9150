"""Which rows fail a run of the bench, and what comes of a run that one of them fails."""

import argparse
import os
import sys
from collections.abc import Iterator
from functools import partial

import pytest

from bench import harness, testing
from bench.cli import ran
from bench.rows import Row, line, promised


def _measured(*rows: Row, quick: bool) -> Iterator[Row]:
    yield from rows


def _run(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> int:
    monkeypatch.setattr(sys, "argv", ["bench"])
    return harness.run(argparse.ArgumentParser(), {"one": partial(_measured, *rows)})


@pytest.mark.parametrize(("ours", "met"), [(149.0, True), (150.0, True), (151.0, False)])
def test_a_promise_is_held_against_its_bound_alone(
    ours: float, *, met: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = promised("tidelog --help", unit="ms", ours=ours, most=150)
    assert (row.gated, row.met, row.peer) == (True, met, None)
    assert line(row).endswith("met" if met else "MISSED")
    assert _run(monkeypatch, row) == (0 if met else 1)


def test_one_missed_promise_among_others_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, missed = (promised("idle", unit="MiB", ours=ours, most=100) for ours in (72, 101))
    assert _run(monkeypatch, kept, missed, kept) == 1


def test_a_row_that_nobody_gates_fails_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _run(monkeypatch, Row(question="x", unit="s", ours=2, ratio=2, at_most=1)) == 0


def test_every_row_of_a_broker_in_a_test_is_a_promise() -> None:
    rows = list(testing.measure(quick=True))
    assert [(row.gated, row.at_most) for row in rows] == [(True, 1.0)] * 3


def test_a_command_that_fails_or_shows_something_else_is_not_measured() -> None:
    took = ran(("--help",), shows="COMMANDS", env=os.environ)
    assert min(took) > 0
    with pytest.raises(RuntimeError, match="ended with 0"):
        ran(("--help",), shows="what no help says", env=os.environ)
    with pytest.raises(RuntimeError, match="tidelog topic lst ended with 2"):
        ran(("topic", "lst"), shows="", env=os.environ)
