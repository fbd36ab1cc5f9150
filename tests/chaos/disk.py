"""How long the disk takes for a byte: `python -m tests.chaos.disk FOLDER`, until it is killed.

Beside the node's own files, as often as a busy node syncs, and in a process that does nothing else:
what it waited for is the disk, not the node. Long waits go to a journal of the folder.
"""

import os
import sys
import time
from pathlib import Path
from typing import Final

from tests.chaos.journal import NS_PER_MS, Journal, Synced, now_ms

BETWEEN_S: Final = 0.02
LONG_MS: Final = 100.0
"""A sync that is worth a line."""


def watch(folder: Path) -> None:
    """Sync a byte again and again."""
    journal = Journal(folder / "disk.jsonl")
    file = os.open(folder / "disk", os.O_WRONLY | os.O_CREAT, 0o600)
    while True:
        began = time.monotonic_ns()
        os.pwrite(file, b"x", 0)
        os.fdatasync(file)
        took_ms = (time.monotonic_ns() - began) / NS_PER_MS
        if took_ms > LONG_MS:
            journal.note(Synced(now_ms(), "", took_ms))
        time.sleep(BETWEEN_S)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
