"""Disks that rot under three processes, in its short form: a restart on damage, and a lost disk."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(find_spec("confluent_kafka") is None, reason="confluent-kafka makes the load")
def test_what_rots_is_never_read_and_heals() -> None:
    command = [sys.executable, "-m", "tests.cluster.damage", "--rows", "restart", "lost"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "the same on all three" in run.stdout
