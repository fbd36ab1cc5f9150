"""The story of a cluster on one machine, in its short form."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    find_spec("confluent_kafka") is None, reason="confluent-kafka makes the load"
)


@pytest.mark.timeout(900)  # its own patience for each row ends before that
def test_the_short_story_ends_well() -> None:
    command = [sys.executable, "-m", "tests.cluster.local_story", "--short"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = re.findall(r"^PASS (\S+) .* ([\d,]+) acknowledged so far, lost 0", run.stdout, re.M)
    assert [name for name, _ in rows] == ["kill-leader", "all-killed", "one-wiped", "same-id"]
    counts = [int(count.replace(",", "")) for _, count in rows]
    assert counts == sorted(set(counts)), "the load went on beside each row"
