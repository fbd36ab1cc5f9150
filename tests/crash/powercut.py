"""Power cuts of a real file system under the log store: `python -m tests.crash.powercut --cuts 50`.

An ext4 on a loop device, and its shutdown ioctl: from one moment to the next nothing more reaches
the device, and what is only in memory is gone. A process works on it and says aloud what it did;
after the cut the file system is mounted again, the store recovers, and the same judge as in the
enumeration compares. With `--no-sync` the process syncs nothing: then records must get lost, or
the cuts prove nothing. Needs root.
"""

import argparse
import fcntl
import gc
import os
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from api.sim.disk import SimDisk
from logstore.disk_posix import PosixDisk, PosixFile
from model.errors import StorageFailed
from model.ids import Position
from model.ports import Disk
from tests.crash.driver import Driver
from tests.crash.history import History
from tests.crash.store import open_store
from tests.crash.workloads import endless

SHUTDOWN: Final = 0x8004587D
"""EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)."""
NO_FLUSH: Final = struct.pack("=I", 2)
"""EXT4_GOING_FLAGS_NOLOGFLUSH: the journal of the file system is not written either."""
DEVICE_BYTES: Final = 64 << 20
MARKS: Final = (30, 700)
"""A cut falls after so many remarks of the process: by count, not by time."""
ROOT: Final = Path(__file__).parents[2]


class Enough(Exception):  # noqa: N818 - the end of a repetition, no error
    """The script has said as much as the process had."""


class UnsyncedFile(PosixFile):
    """A file whose syncs do nothing."""

    def begin_sync(self, size: int, position: Position) -> None:
        """Lie."""

    def fdatasync(self) -> None:
        """Lie."""


class UnsyncedDisk(PosixDisk):
    """A disk whose syncs do nothing."""

    def open(self, name: str, *, create: bool = False) -> PosixFile:
        """Open a file that never syncs."""
        super().open(name, create=create).close()
        return UnsyncedFile(self._path(name), os.O_RDWR)

    def sync_directory(self, name: str) -> None:
        """Lie."""


class Volume:
    """An ext4 in a file, mounted."""

    def __init__(self, folder: Path) -> None:
        """Make it; nothing is mounted yet."""
        self._image = folder / "device"
        self.path = folder / "mounted"
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(DEVICE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self._image)], check=True)

    def mount(self) -> None:
        """Mount it; after a cut, its journal is replayed."""
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self.path)], check=True)

    def unmount(self) -> None:
        """Let go of it, and of what an examined store still holds open in a cycle."""
        gc.collect()
        subprocess.run(["umount", str(self.path)], check=True)

    def cut(self) -> None:
        """Cut the power: nothing more reaches the device."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, NO_FLUSH)
        finally:
            os.close(descriptor)


@contextmanager
def volume() -> Iterator[Volume]:
    """Have a volume for a while."""
    with tempfile.TemporaryDirectory(prefix="tidelog-powercut-") as folder:
        made = Volume(Path(folder))
        made.mount()
        try:
            yield made
        finally:
            made.unmount()


def work(disk: Disk, seed: int, say: Callable[[object], None]) -> None:
    """Do the script on a disk until something ends it."""
    endless(Driver(disk, say, random.Random(seed)))


def heard_once(_: object) -> None:
    """Let the other process count one remark more."""
    os.write(1, b".")


def child(root: str, seed: int, *, syncing: bool) -> None:
    """Work on a directory, one byte to standard output for each thing said."""
    disk = PosixDisk(root, create=True) if syncing else UnsyncedDisk(root, create=True)
    try:
        work(disk, seed, heard_once)
    except (OSError, StorageFailed) as error:
        sys.stderr.write(f"{error}\n")


def repeat(seed: int, count: int) -> list[object]:
    """Return the first so many things that the script says."""
    said: list[object] = []

    def listen(mark: object) -> None:
        said.append(mark)
        if len(said) == count:
            raise Enough

    try:
        work(SimDisk(crashable=False), seed, listen)
    except Enough:
        pass
    return said


def one_cut(on: Volume, seed: int, *, syncing: bool) -> tuple[int, list[str]]:
    """Cut the power once; return how much had been said, and what is wrong afterwards."""
    root = on.path / f"run{seed}"
    marks = random.Random(seed).randrange(*MARKS)
    arguments = [sys.executable, "-m", "tests.crash.powercut", "--child", str(root)]
    arguments += ["--seed", str(seed)] + ([] if syncing else ["--no-sync"])
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    ) as process:
        stdout = process.stdout
        assert stdout is not None
        heard = len(stdout.read(marks))
        on.cut()
        heard += len(stdout.read())
    assert heard >= marks, f"the process ended by itself after {heard} remarks"
    on.unmount()
    on.mount()
    history = History(repeat(seed, heard))
    try:
        state = open_store(PosixDisk(str(root)))
    except (OSError, StorageFailed, Exception) as error:  # noqa: BLE001 - each is a finding
        return heard, [f"recovery refused: {error!r}"]
    return heard, list(history.violations(*state))


def main(arguments: Sequence[str]) -> int:
    """Cut as often as asked; report."""
    parser = argparse.ArgumentParser(prog="make powercut", description=__doc__)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-sync", action="store_true", help="must fail")
    parser.add_argument("--child", metavar="DIR", help="be the process that works")
    options = parser.parse_args(arguments)
    if options.child:
        child(options.child, options.seed, syncing=not options.no_sync)
        return 0
    wrong, said = 0, 0
    with volume() as on:
        for number in range(options.cuts):
            seed = options.seed + number
            heard, violations = one_cut(on, seed, syncing=not options.no_sync)
            said += heard
            wrong += bool(violations)
            for what in violations[:2]:
                sys.stdout.write(f"seed {seed}: {what[:300]}\n")
    verdict = "FAIL" if wrong else "PASS"
    sys.stdout.write(f"{verdict}: {options.cuts} power cuts, {said} remarks, {wrong} wrong\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
