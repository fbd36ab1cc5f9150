"""The story of a group whose coordinator is killed, told with two kills."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_no_acknowledged_commit_is_lost_with_the_coordinator() -> None:
    command = [sys.executable, "-m", "tests.cluster.group_story", "--kills", "2"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    told = re.search(r"(\d+) acknowledged, (\d+) handed out.* (\d+) committed", run.stdout)
    assert told is not None and int(told[3]) >= 100, run.stdout
