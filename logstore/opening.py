"""Whose directory it is, and whether it is one at all: before anything in it is believed.

Unreadable metadata is never read as "does not exist" (P46): where data is, and the small file that
describes it is not, the directory is refused, and nothing is made or changed.
"""

from typing import Final, NamedTuple

from logstore.checkpoint import Checkpoint
from logstore.checkpoint import decode as decode_checkpoint
from logstore.identity import CleanMark, Identity, decode, decode_clean, encode
from logstore.journal import make_file
from logstore.journal_reader import JournalReader
from logstore.paths import CHECKPOINT, CLEAN, IDENTITY, JOURNAL, PARTITIONS, journal_file
from logstore.replace_file import read_file, replace_file
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import AppendTimeMs
from model.ports import Disk

NOTHING: Final = Checkpoint(covered=1, clock_floor=AppendTimeMs(0), rows=(), tombstones=())
"""What a checkpoint says of a directory that was just made."""


class Found(NamedTuple):
    """The small files of a directory."""

    identity: Identity
    checkpoint: Checkpoint
    clean: CleanMark | None
    new: bool
    """It was empty, or held what a first start leaves that is cut off: it has been made."""


def find(disk: Disk, identity: Identity) -> Found:
    """Read the small files; in an empty directory make all but the checkpoint: recovery writes it.

    Raises:
        DirectoryRefused: another's directory (12), damaged or missing metadata (11), a newer
            format (13).
        OSError: the disk refused.
    """
    owner = read_file(disk, IDENTITY)
    checkpoint = read_file(disk, CHECKPOINT)
    if owner is None and checkpoint is not None:
        raise _missing(IDENTITY, f"there is a {CHECKPOINT}")
    try:
        found = None if owner is None else decode(owner)
        row = None if checkpoint is None else decode_checkpoint(checkpoint)
    except MalformedError as malformed:
        raise DirectoryRefused(
            DirectoryExit.FAILED,
            f"{malformed}: without it nothing in the directory can be believed: restore it from "
            "a copy, or let this node join with an empty directory",
        ) from malformed
    if found is not None:
        _check_owner(found, identity)
    if found is None or row is None:
        _check_empty(disk, found)
        _make(disk, identity)
        return Found(identity, NOTHING, None, new=True)
    _check_folders(disk)
    return Found(found, row, _clean(disk), new=False)


def forget_clean_stop(disk: Disk) -> None:
    """Remove the mark of a clean stop: from here on a crash is a crash. Raises OSError."""
    disk.unlink(CLEAN)
    # SYNC: were the mark to come back after a crash, the journal would not be looked at.
    disk.sync_directory("")


def _clean(disk: Disk) -> CleanMark | None:
    file = read_file(disk, CLEAN)
    if file is None:
        return None
    try:
        return decode_clean(file)
    except MalformedError:
        return None  # the power went while it was written: no clean stop


def _check_empty(disk: Disk, identity: Identity | None) -> None:
    """Refuse to begin anew where a checkpoint must have been.

    An identity alone is what a crash leaves of a first start; but a node registers only once its
    checkpoint is durable.
    """
    if identity is not None and identity.registration_epoch > 0:
        why = f"{IDENTITY} was registered, with epoch {identity.registration_epoch}"
        raise _missing(CHECKPOINT, why)
    try:
        if disk.list(PARTITIONS):
            raise _missing(CHECKPOINT, f"{PARTITIONS}/ has partitions")
    except FileNotFoundError:
        pass
    try:
        used = JournalReader(disk, 0).used
    except FileNotFoundError:
        return
    if used:
        raise _missing(CHECKPOINT, f"{JOURNAL}/ has entries")


def _check_folders(disk: Disk) -> None:
    """Refuse a directory without the folders that a first start made before its checkpoint."""
    for folder in (JOURNAL, PARTITIONS):
        try:
            disk.list(folder)
        except FileNotFoundError:
            raise _missing(folder, f"there is a {CHECKPOINT}") from None


def _make(disk: Disk, identity: Identity) -> None:
    """Make a directory of ours; nothing of it counts before recovery has written a checkpoint.

    Recovery syncs the names, of these and of the checkpoint at once, and makes the journal's first
    file, as it does wherever no file of it was ever in use.
    """
    replace_file(disk, IDENTITY, encode(identity))
    disk.make_directory(PARTITIONS)
    disk.make_directory(JOURNAL)


def _check_owner(found: Identity, wanted: Identity) -> None:
    for what, have, want in (
        ("cluster", found.cluster_id, wanted.cluster_id),
        ("node", found.node, wanted.node),
    ):
        if have != want:
            raise DirectoryRefused(
                DirectoryExit.FENCED,
                f"the directory belongs to {what} {have}, not {want}: "
                "give this node its own directory",
            )


def _missing(name: str, why: str) -> DirectoryRefused:
    return DirectoryRefused(
        DirectoryExit.FAILED,
        f"{name} is missing, yet {why}: nothing was changed; restore it from a copy, or let this "
        "node join with an empty directory",
    )


def spare_files(disk: Disk, *, journal_bytes: int, clean: bool) -> list[int]:
    """Return the numbers of journal files that can be used again, at least one; after recovery.

    A file that was ever in use has a name that is durable: it was synced before. One that was not
    may have been made by a process that was killed before that, and is known to memory alone: it
    goes, and so does one of another size. After a clean stop all names are durable.
    Raises OSError.
    """
    reader = JournalReader(disk, 0)
    usable: list[int] = []
    for number in reader.numbers:
        file = disk.open(journal_file(number))
        fits = file.size() == journal_bytes
        file.close()
        if fits and (clean or number in reader.used):
            usable.append(number)
        else:
            disk.unlink(journal_file(number))
    if not usable:
        make_file(disk, 1, journal_bytes)
        # SYNC: the first round is acknowledged without another look at the file's name.
        disk.sync_directory(JOURNAL)
        usable.append(1)
    return usable
