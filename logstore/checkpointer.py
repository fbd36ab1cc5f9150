"""What the checkpointer thread does: makes partition files durable, then says so in one file.

Order matters:

1. append times and small files are written, files synced, then the directories that hold them;
2. the checkpoint file is replaced and its name synced: from here on journal files can be reused;
3. indexes are written (caches: after what they describe is durable), trimmed files removed;
4. a journal file is made, if there is room for it: nothing depends on it yet.

Any other failure is StorageFailed: the directory is offline, nothing is retried.
"""

import errno
from contextlib import suppress
from typing import Final

from logstore.journal import make_file
from logstore.paths import CHECKPOINT, JOURNAL, PARTITIONS, journal_file
from logstore.replace_file import replace_file, write_cache
from logstore.round import CheckpointJob, CheckpointResult, PartitionCheckpoint
from model.errors import StorageFailed
from model.ids import Position
from model.ports import Disk

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Checkpointer:
    """Executes checkpoints. CHECKPOINTER THREAD: nobody else touches it."""

    def __init__(self, disk: Disk, *, journal_bytes: int) -> None:
        """Begin."""
        self._disk = disk
        self._journal_bytes = journal_bytes
        self._doing = ""
        self._failed = False

    def run(self, job: CheckpointJob) -> CheckpointResult:
        """Make everything in the job durable.

        Raises:
            StorageFailed: the disk refused; the same for every later call.
        """
        if self._failed:
            raise StorageFailed(CHECKPOINT, 5, "write after a failure to")
        try:
            self._run(job)
            spare = self._make_spare(job.spare)
        except OSError as error:
            self._failed = True
            raise StorageFailed(self._doing, error.errno or 5, "checkpoint") from error
        return CheckpointResult(job, spare)

    def _run(self, job: CheckpointJob) -> None:
        disk = self._disk
        for part in job.parts:
            self._make_durable(part)
        for _, directory in job.deletions:
            self._remove(directory)
        if job.directories_changed:
            self._doing = PARTITIONS
            # SYNC: a row speaks of a directory, or no longer does; it must be there, or be gone.
            disk.sync_directory(PARTITIONS)
        if job.file is not None:
            self._doing = CHECKPOINT
            replace_file(disk, CHECKPOINT, job.file)
            # SYNC: the journal that the old checkpoint needs is about to be overwritten.
            disk.sync_directory("")
        for part in job.parts:
            for name, content in part.caches:
                self._doing = name
                write_cache(disk, name, content)
            for name in part.unlink:
                self._doing = name
                with suppress(FileNotFoundError):
                    disk.unlink(name)

    def _make_spare(self, number: int | None) -> int | None:
        """Make a journal file that nothing depends on yet; None: there is none, or no room."""
        if number is None:
            return None
        self._doing = JOURNAL
        try:
            make_file(self._disk, number, self._journal_bytes)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            with suppress(FileNotFoundError):  # there was no room for its name
                self._disk.unlink(journal_file(number))
            return None
        # SYNC: a round in the new file is acknowledged without another look at its name.
        self._disk.sync_directory(JOURNAL)
        return number

    def _make_durable(self, part: PartitionCheckpoint) -> None:
        disk = self._disk
        for name, position, content in part.times:
            self._doing = name
            file = disk.open(name, create=True)
            file.pwrite([content], Position(position))
            file.close()
        for name in part.sync:
            self._doing = name
            file = disk.open(name, create=True)
            # SYNC: batches and append times below the row's end; the journal forgets them.
            file.fdatasync()
            file.close()
        for name, content in part.small:
            self._doing = name
            replace_file(disk, name, content)
        if part.names_changed:
            self._doing = part.directory
            # SYNC: the row speaks of files that were made, or is silent of some that went.
            disk.sync_directory(part.directory)

    def _remove(self, directory: str) -> None:
        """Remove a deleted partition. What is left after a crash, replay removes."""
        self._doing = directory
        remove_directory(self._disk, directory)


def remove_directory(disk: Disk, directory: str) -> None:
    """Remove a directory of files, if it is there. Durable after a sync of its parent."""
    try:
        names = disk.list(directory)
    except FileNotFoundError:
        return
    for name in names:
        disk.unlink(f"{directory}/{name}")
    disk.remove_directory(directory)
