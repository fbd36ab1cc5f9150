"""The story of three processes, told once: killed, stopped in order, killed all at once."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("confluent_kafka") is None, reason="confluent-kafka makes the load")
def test_nothing_acknowledged_is_lost_and_nothing_is_there_twice() -> None:
    command = [sys.executable, "-m", "tests.cluster.story", "--rounds", "1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    told = re.search(r"(\d+) acknowledged, (\d+) read back", run.stdout)
    assert told is not None and int(told[2]) >= int(told[1]) >= 1_000
