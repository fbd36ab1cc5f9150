"""A small log of our own for the examiner to practise on: right, or wrong in one chosen way.

Records go to `log`, each with length and checksum, each synced before it is acknowledged. Every
few records the log is sealed: it gets a number, `sealed` (a small file by rename) says how long
each sealed file is, and a new `log` begins. Recovery reads what `sealed` names, then `log`.
"""

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Final
from zlib import crc32

from api.sim.disk import SimDisk
from api.sim.image import Image
from model.ids import Position
from tests.crash.explore import Outcome, Recording

SEAL_EVERY: Final = 3
HEAD_BYTES: Final = 8


class Bug(Enum):
    """One line that someone might write."""

    NONE = auto()
    NO_SYNC = auto()
    ACK_BEFORE_SYNC = auto()
    NO_DIRECTORY_SYNC = auto()
    RENAME_BEFORE_SYNC = auto()
    ZEROS_PARSE = auto()
    RECOVERY_IN_PLACE = auto()


class ToyStore:
    """The toy, open on a disk."""

    def __init__(self, disk: SimDisk, bug: Bug) -> None:
        """Recover."""
        self._disk = disk
        self._bug = bug
        self._sealed: list[int] = []
        self.records: list[bytes] = []
        self._recover()

    def append(self, record: bytes) -> None:
        """Add one record and acknowledge it once it is durable."""
        self._disk.mark(("begun", record))
        if self._bug is Bug.ACK_BEFORE_SYNC:
            self._disk.mark(("acknowledged", record))
        framed = frame(record, self._bug)
        self._log.pwrite([framed], Position(self._end))
        self._end += len(framed)
        if self._bug is not Bug.NO_SYNC:
            self._log.fdatasync()
        if self._bug is not Bug.ACK_BEFORE_SYNC:
            self._disk.mark(("acknowledged", record))
        self.records.append(record)
        if len(self.records) % SEAL_EVERY == 0:
            self._seal()

    def _seal(self) -> None:
        """Name the full log in `sealed` first: a log that is named and not yet moved is found.

        The directory is synced once, for both renames and the new log: they persist in order.
        """
        self._sealed.append(self._end)
        self._write_sealed()
        self._disk.rename("log", f"sealed-{len(self._sealed)}")
        self._open_log()

    def _write_sealed(self) -> None:
        file = self._disk.open("sealed.tmp", create=True)
        text = ",".join(map(str, self._sealed)).encode()
        file.pwrite([frame(text, Bug.NONE)], Position(0))
        if self._bug is not Bug.RENAME_BEFORE_SYNC:
            file.fdatasync()
        self._disk.rename("sealed.tmp", "sealed")

    def _open_log(self) -> None:
        """Open the log; its name is durable before anything in it is acknowledged."""
        self._log = self._disk.open("log", create=True)
        self._sync_directory()
        self._end = 0

    def _sync_directory(self) -> None:
        if self._bug is not Bug.NO_DIRECTORY_SYNC:
            self._disk.sync_directory("")

    def _recover(self) -> None:
        names = self._disk.list("")
        if "sealed" in names:
            text, _ = next(frames(self._content("sealed"), Bug.NONE))
            self._sealed = [int(part) for part in text.decode().split(",")]
        for number, size in enumerate(self._sealed, 1):
            if f"sealed-{number}" not in names:
                self._disk.rename("log", f"sealed-{number}")
            found = list(frames(self._content(f"sealed-{number}"), self._bug))
            if not found or found[-1][1] != size:
                raise ValueError(f"sealed-{number} is not {size} bytes long")
            self.records += [record for record, _ in found]
        if "log" not in self._disk.list(""):
            self._open_log()
            return
        content = self._content("log")
        self._log = self._disk.open("log")
        found = list(frames(content, self._bug))
        self._end = found[-1][1] if found else 0
        self.records += [record for record, _ in found]
        if self._bug is Bug.RECOVERY_IN_PLACE:
            self._log.truncate(0)
            self._log.pwrite([content[: self._end]], Position(0))
        if self._end < len(content):
            self._log.truncate(self._end)
        self._log.fdatasync()

    def _content(self, name: str) -> bytes:
        file = self._disk.open(name)
        return file.pread(file.size(), Position(0))


def frame(record: bytes, bug: Bug) -> bytes:
    """Return length, checksum, record."""
    crc = crc32(record) if bug is Bug.ZEROS_PARSE else crc32(record) ^ 0xFFFFFFFF
    return len(record).to_bytes(4, "big") + crc.to_bytes(4, "big") + record


def frames(content: bytes, bug: Bug) -> Iterator[tuple[bytes, int]]:
    """Yield each record and where it ends, up to the first that does not parse."""
    at = 0
    while len(content) - at >= HEAD_BYTES:
        end = at + HEAD_BYTES + int.from_bytes(content[at : at + 4], "big")
        record = content[at + HEAD_BYTES : end]
        if end > len(content) or frame(record, bug) != content[at:end]:
            return
        yield record, end
        at = end


class Toy:
    """The toy as a subject."""

    def __init__(self, bug: Bug) -> None:
        """Choose what is wrong with it."""
        self._bug = bug

    def record(self, records: int) -> Recording:
        """Append some records, of 0 to 1,300 bytes, and keep what the disk was asked."""
        disk = SimDisk()
        disk.trace = []
        store = ToyStore(disk, self._bug)
        for number in range(records):
            store.append(bytes([number + 1]) * (number * 467 % 1301))
        return Recording(disk.trace)

    def recover(self, image: Image) -> Outcome:
        """Open it."""
        disk = SimDisk(image)
        disk.trace = []
        try:
            records = tuple(ToyStore(disk, self._bug).records)
        except (OSError, ValueError, StopIteration) as error:
            return Outcome(None, disk.platter.image().digest(), disk.trace, repr(error))
        return Outcome(records, disk.platter.image().digest(), disk.trace)

    def check(self, outcome: Outcome, said: Sequence[object], *, killed: bool) -> Iterator[str]:
        """A first part of what was begun, with all that was acknowledged; `killed`: or written."""
        records = outcome.state
        begun = [mark[1] for mark in said if isinstance(mark, tuple) and mark[0] == "begun"]
        acknowledged = len(said) - len(begun)
        assert isinstance(records, tuple)
        if list(records) != begun[: len(records)]:
            yield f"{len(records)} records are no first part of what was written"
        if len(records) < acknowledged:
            yield f"{acknowledged} were acknowledged, {len(records)} are there"
