"""Ports for nodes under test: no two runs on one machine get the same."""

import os
import subprocess
import sys
from pathlib import Path

from tests.kill.node_process import free_ports

ROOT = Path(__file__).parents[3]
OTHER = (
    "import os; os.getpid = lambda: {pid}\n"
    "from tests.kill.node_process import free_ports\n"
    "print(*free_ports(['a', 'b']).values())"
)


def test_another_process_that_begins_at_the_same_port_gets_others() -> None:
    mine = free_ports(["a", "b"])
    assert len(set(mine.values())) == 2
    told = subprocess.run(
        [sys.executable, "-c", OTHER.format(pid=os.getpid())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = {int(port) for port in told.stdout.split()}
    assert len(theirs) == 2
    assert not theirs & set(mine.values())
    assert not set(free_ports(["a", "b"]).values()) & set(mine.values())
