"""Three processes are restarted one after the other, under load, and no client notices."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAUSE_S_MAX = 5.0
"""What clients are promised of a kill (P51); in order it is a fraction, which no test can insist on
while others use the machine."""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("confluent_kafka") is None, reason="confluent-kafka makes the load")
def test_no_client_notices_a_rolling_restart() -> None:
    command = [sys.executable, "-m", "tests.cluster.rolling"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    told = re.search(
        r"(\d+) and (\d+) acknowledged, (\d+) and (\d+) read back, (\d+) by .* pause ([0-9.]+) s",
        run.stdout,
    )
    assert told is not None, run.stdout
    sdk, kafka, *read, handed = map(int, told.groups()[:5])
    assert min(sdk, kafka) >= 1_000
    assert [sdk, kafka, sdk] == [*read, handed]
    assert float(told[6]) < PAUSE_S_MAX
