"""An open file of a simulated disk."""

import errno
from collections.abc import Sequence

from api.sim.device import Device
from api.sim.faults import Lie, LyingWrite, Operation, failed
from api.sim.platter import FileNode, Resize
from api.sim.trace import Sync, Truncate, Write
from model.ids import Position


class SimFile:
    """One open file of a simulated device."""

    __slots__ = ("_device", "_life", "_name", "_node", "_open")

    def __init__(self, device: Device, node: FileNode, name: str) -> None:
        """Open a node under the name that errors and faults know it by."""
        self._device = device
        self._node = node
        self._name = name
        self._life = device.life
        self._open = True

    def pread(self, size: int, position: Position) -> bytes:
        """Return up to `size` bytes; fewer only at the end of the file."""
        with self._device.guard:
            self._check(Operation.READ, start=position, size=size)
            self._node.warm = True
            return self._slice(size, position)

    def pread_cached(self, size: int, position: Position) -> bytes | None:
        """Return what `pread` would, or None while nobody has read the file from the device."""
        with self._device.guard:
            if not self._node.warm:
                self._check(None)
                return None
            self._check(Operation.READ, start=position, size=size)
            return self._slice(size, position)

    def pwrite(self, buffers: Sequence[bytes | bytearray | memoryview], position: Position) -> None:
        """Write into the page cache all of it, or a first part and raise."""
        device, node = self._device, self._node
        with device.guard:
            size = sum(map(len, buffers))
            self._refuse_changes(Operation.WRITE, size)
            rule = device.faults.strike(Operation.WRITE, self._name, start=position, size=size)
            room = device.room(len(node.cached), position + size, position=position)
            arrived = min(rule.arrived, room) if rule else room
            for buffer in buffers:
                part = memoryview(buffer)[: max(arrived, 0)]
                self._write(part, position)
                position = Position(position + len(part))
                arrived -= len(part)
                size -= len(part)
            if size or rule:
                raise failed(rule.error if rule else errno.ENOSPC, self._name)

    def begin_sync(self, size: int, position: Position) -> None:
        """Nothing: what is pending may be on the platter after a cut anyway, or not."""

    def fdatasync(self) -> None:
        """Make the file's bytes and length durable; a failure loses what was pending."""
        with self._device.guard:
            self._refuse_changes(Operation.SYNC, 0)
            if rule := self._device.faults.strike(Operation.SYNC, self._name):
                self._node.pending.clear()
                raise failed(rule.error, self._name)
            self._device.platter.sync(self._node)
            self._device.record(Sync(self._node.number, self._name))

    def truncate(self, size: int) -> None:
        """Cut or extend with zeros."""
        device = self._device
        with device.guard:
            before = len(self._node.cached)
            self._refuse_changes(Operation.RESIZE, size)
            if rule := device.faults.strike(Operation.RESIZE, self._name):
                raise failed(rule.error, self._name)
            if device.room(before, size, position=before) < size - before:
                raise failed(errno.ENOSPC, self._name)
            device.platter.resize(self._node, size)
            device.used_bytes += size - before
            device.record(Truncate(self._node.number, size))

    def size(self) -> int:
        """Return the length in bytes."""
        with self._device.guard:
            self._check(None)
            return len(self._node.cached)

    def drop_cache(self) -> None:
        """Forget clean pages: the next read shows what the device has."""
        with self._device.guard:
            self._check(None)
            if self._device.platter.tracked:
                self._node.forget_clean_pages()

    def close(self) -> None:
        """Let go of the handle; nothing is synced by it."""
        self._open = False

    def _slice(self, size: int, position: int) -> bytes:
        with memoryview(self._node.cached) as view:
            return bytes(view[position : position + size])

    def _write(self, part: memoryview, position: Position) -> None:
        if not len(part):
            return
        device, node = self._device, self._node
        device.used_bytes += max(0, position + len(part) - len(node.cached))
        pending = len(node.pending)
        device.platter.write(node, part, position)
        if lie := device.faults.lie_about(self._name):
            _tell(lie, node, pending)
        if device.trace is not None:
            device.trace.append(Write(node.number, position, bytes(part)))

    def _check(self, operation: Operation | None, *, start: int = 0, size: int = 0) -> None:
        if not self._open or self._life != self._device.life:
            raise OSError(errno.EBADF, "the file was closed", self._name)
        if operation is None:
            return
        self._device.announce(operation, self._name, size)
        if rule := self._device.faults.strike(operation, self._name, start=start, size=size):
            raise failed(rule.error, self._name)

    def _refuse_changes(self, operation: Operation, size: int) -> None:
        self._check(None)
        self._device.announce(operation, self._name, size)
        if self._device.read_only:
            raise failed(errno.EROFS, self._name)


def _tell(lie: LyingWrite, node: FileNode, first: int) -> None:
    """Change what will reach the device of the units that a write has just added."""
    units = node.pending[first:]
    del node.pending[first:]
    for unit in units:
        if isinstance(unit, Resize):
            node.pending.append(unit)
        elif lie.lie is Lie.MISDIRECTED:
            node.pending.append(unit._replace(sector=unit.sector + lie.sectors_off))
