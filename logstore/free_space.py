"""The reserve line: appends are refused before the disk is full (P48)."""

from typing import Final, NamedTuple

from logstore.settings import LogSettings
from model.errors import ErrorCode, RequestError
from model.ports import Disk

LAST_PART: Final = 4
"""Of the reserve a fourth is for journal, checkpoints and deletions alone: they make room again."""


class Mark(NamedTuple):
    """What takes no room on the disk yet, when a look at it is asked for."""

    unwritten_bytes: int
    """Accepted by then."""
    accepted_bytes: int
    """In all by then: more will have been when the look is done."""


class Claim:
    """Room that was accepted as a whole and is written over a long time. Loop only.

    Until it is written, or given back, no look at the disk takes it for free.
    """

    __slots__ = ("_size_bytes", "left_bytes")

    def __init__(self, size_bytes: int) -> None:
        """Begin with nothing written."""
        self._size_bytes = self.left_bytes = size_bytes

    def written(self, size_bytes: int) -> None:
        """Note how much of it is in files by now: a look at the disk sees that itself."""
        self.left_bytes = max(0, self._size_bytes - size_bytes)

    def give_back(self) -> None:
        """Need no more of it: all is written, or never will be. The next look frees the rest."""
        self.left_bytes = 0


class FreeSpace:
    """What is left of the file system, as of the last look, less what is not written yet."""

    __slots__ = ("_accepted", "_claims", "_disk", "_free", "_reserve", "_settings", "total_bytes")

    def __init__(self, disk: Disk, settings: LogSettings) -> None:
        """Nothing is known yet: everything is accepted until the first `poll`."""
        self._disk = disk
        self._settings = settings
        self._free = 1 << 62
        self._reserve = 0
        self._accepted = 0
        self._claims: list[Claim] = []
        self.total_bytes = 0
        """Of the file system, as of the last look."""

    def mark(self, unwritten_bytes: int) -> Mark:
        """Return what `poll` is to be told. Loop only."""
        self._claims = [claim for claim in self._claims if claim.left_bytes]
        claimed_bytes = sum(claim.left_bytes for claim in self._claims)
        return Mark(unwritten_bytes + claimed_bytes, self._accepted)

    def poll(self, mark: Mark) -> None:
        """Look. CHECKPOINTER THREAD; raises OSError.

        What is written, or refused after all, since the mark counts as if it were to come.
        """
        total = self.total_bytes = self._disk.total_bytes()
        percent = total * self._settings.reserve_percent // 100
        self._reserve = min(self._settings.reserve_bytes, percent)
        free = self._disk.free_bytes()
        self._free = free - mark.unwritten_bytes - (self._accepted - mark.accepted_bytes)

    def accepts(self, size_bytes: int, *, into_reserve: bool = False, journal_bytes: int) -> None:
        """Count an append, or refuse it.

        `into_reserve`: it is what the reserve is kept for; only the last part of it is out of
        bounds. `journal_bytes`: of a journal file that is still to be made, and kept on top.

        Raises:
            RequestError: DISK_FULL: nothing was appended; retried once space was freed, it works.
        """
        left = self._free - size_bytes
        kept = self._reserve + journal_bytes
        if left < (self._reserve // LAST_PART + journal_bytes if into_reserve else kept):
            raise RequestError(
                ErrorCode.DISK_FULL,
                f"{self._free} bytes are free, {kept} are kept in reserve: free some, "
                "or let retention delete more",
                free_bytes=str(self._free),
                reserve_bytes=str(kept),
            )
        self._accepted += size_bytes  # first: a look may come between the two
        self._free -= size_bytes

    def claim(self, size_bytes: int, *, journal_bytes: int) -> Claim:
        """Count what is to be written over a long time, or refuse it as `accepts` does.

        Raises:
            RequestError: DISK_FULL.
        """
        self.accepts(size_bytes, journal_bytes=journal_bytes)
        claim = Claim(size_bytes)
        self._claims.append(claim)
        return claim

    def has_room(self, size_bytes: int, *, into_reserve: bool) -> bool:
        """Tell whether a file of the journal may be made now; see `accepts`."""
        kept = self._reserve // LAST_PART if into_reserve else self._reserve
        return self._free - size_bytes >= kept
