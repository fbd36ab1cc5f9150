"""A short run of the crowd; `make groups-chaos` runs for ten minutes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.plan import PARTITIONS, value_of

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_crowd_loses_nothing_and_disturbs_nobody() -> None:
    """Long enough for every kind of thing to happen once, by the seed."""
    command = [sys.executable, "-m", "tests.chaos.run", "--seconds", "40", "--members", "50"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("PASS\n")


def test_a_record_says_where_it_belongs() -> None:
    values = {value_of(number, offset) for number in range(PARTITIONS) for offset in range(9)}
    assert len(values) == PARTITIONS * 9
    assert value_of(3, 5).startswith(b"3/5;")
