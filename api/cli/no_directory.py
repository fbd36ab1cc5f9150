"""A directory without `identity`, as `tidelog verify` finds it: what a start would do there."""

from collections.abc import Sequence
from typing import Final

from api.cli.overlay_disk import OverlayDisk
from cluster.raft.entry_log import DIRECTORY as METADATA
from logstore.identity import Identity
from logstore.opening import find
from logstore.paths import CHECKPOINT, CLEAN, JOURNAL, PARTITIONS
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import NodeId, RegistrationEpoch

OURS: Final = frozenset({CHECKPOINT, CLEAN, JOURNAL, PARTITIONS, METADATA})
NAMED_MAX: Final = 3
_ANYBODY: Final = Identity(bytes(16), "", NodeId(0), RegistrationEpoch(0))


class NoDataDirectory(Exception):  # noqa: N818 - says what was found
    """There is nothing to check, and a start would not refuse the directory: it would use it."""

    def __init__(self, found: str, hint: str) -> None:
        """Say what is there instead, and what follows from it."""
        super().__init__(found)
        self.hint = hint


def look_without_identity(disk: OverlayDisk) -> DirectoryRefused | NoDataDirectory:
    """Return what is wrong with a directory that has no `identity`; what a start does is tried.

    Raises:
        OSError: the disk refused.
    """
    names = disk.list("")
    ours = sorted(OURS.intersection(names))
    if not ours:
        return _nothing_of_ours(names)
    try:
        find(disk, _ANYBODY)  # what it makes stays in the overlay
    except DirectoryRefused as refused:
        return refused
    if METADATA in ours and disk.list(METADATA):
        detail = f"identity is missing, yet {METADATA}/ has files: they are another directory's"
        return DirectoryRefused(DirectoryExit.FAILED, detail)
    return NoDataDirectory(
        f"identity is missing, and of a node there is only {', '.join(ours)}, without records",
        "what a first start leaves that was cut off: the next one begins anew",
    )


def _nothing_of_ours(names: Sequence[str]) -> NoDataDirectory:
    hint = "name the data directory of a node"
    if not names:
        return NoDataDirectory(
            "the directory is empty: there is nothing to check",
            f"{hint}; a start with this one would make a new one here",
        )
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return NoDataDirectory(
        f"this is no data directory: it has {', '.join(names[:NAMED_MAX])}{more}, "
        "and no file of a node",
        f"{hint}; a start with this one would make a new one beside what is there",
    )
