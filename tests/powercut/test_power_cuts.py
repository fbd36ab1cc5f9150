"""A few real power cuts where it is possible; `make powercut` does many, and the control."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.powercut.volume import why_not

ROOT = Path(__file__).parents[2]
REASON = why_not()


@pytest.mark.slow
@pytest.mark.skipif(REASON is not None, reason=f"no power can be cut here: {REASON}")
@pytest.mark.skipif(find_spec("confluent_kafka") is None, reason="confluent-kafka makes the load")
def test_nothing_synced_is_lost_in_a_power_cut_and_what_is_not_synced_is() -> None:
    command = [sys.executable, "-m", "tests.powercut.run", "--cuts", "2"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "power cuts: 2; acknowledged records lost: 0" in run.stdout
    devices = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    assert not [name for name in devices if "tidelog-powercut" in name], "a device was left behind"
