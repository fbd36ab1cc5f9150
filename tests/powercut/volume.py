"""A file system whose power can be cut: an ext4 in a file, on a loop device, with a shutdown call.

From the cut on nothing more reaches the device, and what was only in memory is gone for good.
"""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Final

SHUTDOWN: Final = 0x8004587D
"""EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), of Linux."""
NO_FLUSH: Final = struct.pack("=I", 2)
"""EXT4_GOING_FLAGS_NOLOGFLUSH: the file system does not write its own journal either."""
DEVICE_BYTES: Final = 512 << 20
TOOLS: Final = ("mkfs.ext4", "mount", "umount", "unshare")


class Volume:
    """The file system; mounted but for a moment after a cut."""

    def __init__(self, folder: Path, size_bytes: int = DEVICE_BYTES) -> None:
        """Make it, below `folder`; what is not written takes no space."""
        self._image = folder / "device"
        self.path = folder / "mounted"
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(size_bytes)
        _run("mkfs.ext4", "-q", "-F", str(self._image))

    def mount(self) -> None:
        """Mount it; after a cut, its own journal is replayed. The loop device goes with it."""
        _run("mount", "-o", "loop", str(self._image), str(self.path))

    def unmount(self) -> None:
        """Let go of it."""
        _run("umount", str(self.path))

    def sync(self) -> None:
        """Bring everything that was written so far onto the device."""
        _run("sync", "--file-system", str(self.path))

    def cut(self) -> None:
        """Cut the power."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, NO_FLUSH)
        finally:
            os.close(descriptor)


@contextmanager
def volume(folder: Path, size_bytes: int = DEVICE_BYTES) -> Iterator[Volume]:
    """Have a volume, mounted, for a while."""
    made = Volume(folder, size_bytes)
    made.mount()
    try:
        yield made
    finally:
        if os.path.ismount(made.path):
            _run("umount", "--lazy", str(made.path))


def why_not() -> str | None:
    """Return why no power can be cut on this machine; None: it can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    missing = [tool for tool in TOOLS if which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    return None


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
