"""The syncs that no crash needs, each with the reason why it is there all the same.

At most three, and none of them a directory's: dropping any other sync of a recorded run must be
noticed by the enumeration.
"""

import re
from typing import Final

from api.sim.trace import Sync, SyncDirectory

REDUNDANT: Final[dict[str, str]] = {}


def site(step: Sync | SyncDirectory) -> str:
    """Return what kind of file a sync is of: numbers and ids left out."""
    name = re.sub(r"[0-9a-f]{32}-\d+", "P", step.name)
    name = re.sub(r"\d{6,}", "N", name)
    return name if isinstance(step, Sync) else f"directory {name or '.'}"
