"""The story of a cluster on one machine, in its short form; and its judge finds fault."""

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


@pytest.mark.slow
def test_the_short_story_ends_well() -> None:
    command = [sys.executable, "-m", "tests.cluster.local_story", "--short"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = re.findall(r"^PASS (\S+) .* ([\d,]+) acknowledged so far, lost 0", run.stdout, re.M)
    assert [name for name, _ in rows] == ["kill-controller", "all-killed", "same-id"]
    assert all(int(count.replace(",", "")) > 500 for _, count in rows)


@pytest.mark.parametrize(
    ("read", "seen", "says"),
    [
        ({0: 10, 1: 12}, {}, "1 lost, first (2, 14)"),
        ({0: 10, 1: 12, 2: 13}, {}, "1 lost, first (2, 14)"),
        ({0: 10, 1: 12, 2: 14, 3: 14}, {}, "1 doubled"),
        ({0: 10, 1: 12, 2: 14, 3: 11}, {}, "not in the producer's order"),
        ({0: 10, 1: 12, 2: 14}, {3: 15}, "1 are not what was shown"),
        ({0: 10, 1: 12, 2: 14, 3: 15}, {3: 16}, "1 are not what was shown"),
    ],
)
def test_the_judge_finds_fault(read: dict[int, int], seen: dict[int, int], says: str) -> None:
    from tests.cluster.local_cluster import Broken  # noqa: PLC0415 - needs confluent-kafka
    from tests.cluster.local_load import judged  # noqa: PLC0415

    acknowledged = {0: [(0, 10), (1, 12), (2, 14)]}
    good = {0: 10, 1: 12, 2: 14, 3: 15}
    assert judged(acknowledged, {0: good}, {0: good}).startswith("3 acknowledged")
    with pytest.raises(Broken, match=re.escape(says)):
        judged(acknowledged, {0: read}, {0: seen})
