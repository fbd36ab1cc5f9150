"""The syncs that no crash needs, each with the reason why it is there all the same.

At most three, and none of them a directory's: dropping any other sync of a recorded run must be
noticed by the enumeration.
"""

import re
from collections.abc import Sequence
from typing import Final

from api.sim.trace import Step, Sync, SyncDirectory, Write

ZEROS: Final = "journal/N.wal, zeros"
REDUNDANT_MAX: Final = 3
REDUNDANT: Final[dict[str, str]] = {
    ZEROS: "else the first round in a new file waits for all of it to reach the disk",
}


def site(steps: Sequence[Step], at: int) -> str:
    """Return what kind of file a sync is of: numbers and ids left out."""
    step = steps[at]
    assert isinstance(step, Sync | SyncDirectory)
    name = re.sub(r"[0-9a-f]{32}-\d+", "P", step.name)
    name = re.sub(r"\d{6,}", "N", name)
    if isinstance(step, SyncDirectory):
        return f"directory {name or '.'}"
    before = steps[at - 1]
    zeros = isinstance(before, Write) and before.file == step.file and not any(before.data)
    return f"{name}, zeros" if zeros else name
