"""A disk in memory, with a page cache that can be lost and a device that can fail.

The fault model. docs/ASSUMPTIONS.md says the same for operators and names what real disks do.

* A write is in the page cache at once: every reader sees it, no disk has it.
* `fdatasync` makes durable what was written to that file before, and its length; nothing else:
  not its name, not another file.
* `sync_directory` makes durable which names the directory has; not what is in the files.
* `kill`: the process ends, the page cache stays. Handles of the ended process are refused (EBADF).
* `power_cut`: of everything pending an arbitrary part is left. A write is pending by sectors of
  512 bytes, each as it was after that write; any subset of them has reached the device, across and
  within files, in any order; a sector may be torn at a byte. The length of a file is pending like
  a sector. Where it grew and its data did not arrive, there are zeros or garbage. Of the pending
  changes of one directory any first part is left; directories know nothing of each other. A rename
  happens whole or not at all.
* A failed sync has lost what was pending: the pages count as clean, the next sync succeeds without
  having written them, and they are gone when the page cache is dropped (P44).
* A failed write may have written a first part. A full disk takes what fits, then ENOSPC.
* Reads of a range can fail (EIO); a device can flip bits, lose a write that it reported as synced,
  or put it into another place. Nobody recovers from those without a second copy: they are for
  tests that want them detected (P6).

Not modelled: a device that reorders across a sync that it reported (a lying cache), torn renames,
hard links, mapped memory. Without `crashable` nothing is tracked: a fast disk for
`tidelog dev --memory`, whose content ends with the process.
"""

import errno
from collections.abc import Callable, Sequence

from api.sim.device import CAPACITY_BYTES, Device
from api.sim.faults import Operation, failed
from api.sim.file import SimFile
from api.sim.image import EMPTY, Image
from api.sim.platter import SECTOR_BYTES, DirectoryNode, FileNode, Platter, SectorWrite
from api.sim.power_cut import Pending, Survivors
from api.sim.trace import Create, MakeDirectory, Mark, Remove, Rename, SyncDirectory
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import Position


class SimDisk(Device):
    """One log directory in memory; see the module for what a crash leaves of it."""

    def __init__(
        self,
        image: Image = EMPTY,
        *,
        crashable: bool = True,
        capacity_bytes: int = CAPACITY_BYTES,
    ) -> None:
        """Begin with what an image holds, all of it durable."""
        super().__init__(image, crashable=crashable, capacity_bytes=capacity_bytes)
        self._locked = False

    def open(self, name: str, *, create: bool = False) -> SimFile:
        """Open for reading and writing; with `create` an absent file is made, empty."""
        with self.guard:
            self.announce(Operation.OPEN, name, 0)
            if rule := self.faults.strike(Operation.OPEN, name):
                raise failed(rule.error, name)
            directory, last = self._parent(name)
            node = directory.cached.get(last)
            if node is None:
                if not create:
                    raise failed(errno.ENOENT, name)
                self._changing(name)
                node = self.platter.put_file(directory, last)
                self.record(Create(directory.number, last))
            if not isinstance(node, FileNode):
                raise failed(errno.EISDIR, name)
            return SimFile(self, node, name)

    def make_directory(self, name: str) -> bool:
        """Make one directory; tell whether it was absent."""
        with self.guard:
            self._changing(name)
            directory, last = self._parent(name)
            if (node := directory.cached.get(last)) is not None:
                if not isinstance(node, DirectoryNode):
                    raise failed(errno.EEXIST, name)
                return False
            self.platter.put_directory(directory, last)
            self.record(MakeDirectory(directory.number, last))
            return True

    def remove_directory(self, name: str) -> None:
        """Remove an empty directory."""
        with self.guard:
            self._changing(name)
            if self._directory(name).cached:
                raise failed(errno.ENOTEMPTY, name)
            self._remove(name)

    def rename(self, old: str, new: str) -> None:
        """Replace `new` in one step, within one directory."""
        with self.guard:
            self._changing(old)
            directory, last = self._parent(old)
            target, new_last = self._parent(new)
            if target is not directory:
                raise failed(errno.EXDEV, old)
            if last not in directory.cached:
                raise failed(errno.ENOENT, old)
            _check_target(directory, last, new_last)
            if last != new_last:
                self._count_removed(directory, new_last)
                self.platter.move(directory, last, new_last)
                self.record(Rename(directory.number, last, new_last))

    def unlink(self, name: str) -> None:
        """Remove a file."""
        with self.guard:
            self._changing(name)
            directory, last = self._parent(name)
            if isinstance(directory.cached.get(last), DirectoryNode):
                raise failed(errno.EISDIR, name)
            self._remove(name)

    def sync_directory(self, name: str) -> None:
        """Make creations, renames and removals in a directory durable."""
        with self.guard:
            self.announce(Operation.SYNC_DIRECTORY, name, 0)
            directory = self._directory(name)
            if rule := self.faults.strike(Operation.SYNC_DIRECTORY, name):
                raise failed(rule.error, name)
            self.platter.sync_directory(directory)
            self.record(SyncDirectory(directory.number, name))

    def list(self, name: str) -> Sequence[str]:
        """Return the names in a directory, sorted."""
        with self.guard:
            self.announce(Operation.LIST, name, 0)
            if rule := self.faults.strike(Operation.LIST, name):
                raise failed(rule.error, name)
            return sorted(self._directory(name).cached)

    def lock(self) -> None:
        """Take the directory until `kill` or `power_cut`; DirectoryRefused if it is taken."""
        if self._locked:
            raise DirectoryRefused(DirectoryExit.FENCED, "the simulated directory is in use")
        self._locked = True

    def mark(self, value: object) -> None:
        """Write a remark of the workload into the trace, such as an acknowledgement."""
        self.record(Mark(value))

    def kill(self) -> None:
        """End the process: its handles and its lock are gone, the page cache stays."""
        with self.guard:
            self.life += 1
            self._locked = False

    def power_cut(self, choose: Callable[[Pending], Survivors]) -> None:
        """End everything: of what is pending, only the chosen part is left."""
        assert self.platter.tracked, "SIM_DISK_TRACKS_WHAT_IT_LOSES"
        with self.guard:
            pending = Pending(self.platter)
            image = pending.image(choose(pending))
            self.kill()
            self.platter = Platter(image)
            self.used_bytes = sum(map(len, image.files.values()))
            self.trace = None

    def flip_bit(self, name: str, position: Position, bit: int) -> None:
        """Let the device rot: one bit changes, and the next read shows it."""
        with self.guard:
            node = self._file(name)
            now = node.durable()[position] ^ 1 << bit
            start = position // SECTOR_BYTES * SECTOR_BYTES
            sector = bytearray(node.durable()[start : start + SECTOR_BYTES])
            sector[position - start] = now
            node.write_durably([SectorWrite(0, start // SECTOR_BYTES, bytes(sector))])
            node.forget_clean_pages()

    def _changing(self, name: str) -> None:
        self.announce(Operation.NAMES, name, 0)
        if self.read_only:
            raise failed(errno.EROFS, name)
        if rule := self.faults.strike(Operation.NAMES, name):
            raise failed(rule.error, name)

    def _remove(self, name: str) -> None:
        directory, last = self._parent(name)
        if last not in directory.cached:
            raise failed(errno.ENOENT, name)
        self._count_removed(directory, last)
        self.platter.drop(directory, last)
        self.record(Remove(directory.number, last))

    def _count_removed(self, directory: DirectoryNode, name: str) -> None:
        if isinstance(node := directory.cached.get(name), FileNode):
            self.used_bytes -= len(node.cached)

    def _file(self, name: str) -> FileNode:
        directory, last = self._parent(name)
        node = directory.cached.get(last)
        if not isinstance(node, FileNode):
            raise failed(errno.ENOENT, name)
        return node

    def _directory(self, name: str) -> DirectoryNode:
        node: DirectoryNode = self.platter.root
        for part in name.split("/") if name else ():
            child = node.cached.get(part)
            if child is None:
                raise failed(errno.ENOENT, name)
            if not isinstance(child, DirectoryNode):
                raise failed(errno.ENOTDIR, name)
            node = child
        return node

    def _parent(self, name: str) -> tuple[DirectoryNode, str]:
        parts = name.split("/")
        assert not {"", ".", ".."} & set(parts), "DISK_NAME_STAYS_INSIDE"
        parent, _, last = name.rpartition("/")
        return self._directory(parent), last


def _check_target(directory: DirectoryNode, old: str, new: str) -> None:
    """Refuse what rename(2) refuses: a file over a directory, a directory over a file."""
    source, target = directory.cached[old], directory.cached.get(new)
    if target is None or source is target:
        return
    if isinstance(source, FileNode) and isinstance(target, DirectoryNode):
        raise failed(errno.EISDIR, new)
    if isinstance(source, DirectoryNode) and isinstance(target, FileNode):
        raise failed(errno.ENOTDIR, new)
    if isinstance(target, DirectoryNode) and target.cached:
        raise failed(errno.ENOTEMPTY, new)
