"""The moment the power goes: what is pending, and the image that a choice leaves.

A choice (`Survivors`) names what reached the device. Any choice is legal under the weak model; the
ext4-ordered model makes fewer (`tests/crash/models.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from api.sim.image import Image
from api.sim.platter import (
    SECTOR_BYTES,
    DirectoryNode,
    FileNode,
    Node,
    Platter,
    SectorWrite,
    Unit,
    apply,
)
from model.ports import Rand

GARBAGE: Final = bytes(range(161, 161 + 61))
"""What an extended range may show instead of zeros. 61 bytes: it never repeats by sector."""


@dataclass(frozen=True, slots=True)
class Survivors:
    """What reached the device: bits by the order of `Pending.units`, a count for each directory."""

    units: int
    names: tuple[int, ...]
    fill: bytes = b"\0"
    torn: tuple[int, int] | None = None
    """(index of a unit, bytes): of that sector only the first bytes arrived."""


@dataclass(slots=True)
class _Share:
    """One file's part of the pending units: which bits are its own."""

    mask: int = 0
    units: list[tuple[int, Unit]] = field(default_factory=list)


class Pending:
    """Everything that a power cut may keep or lose now. Valid until the platter is touched."""

    def __init__(self, platter: Platter) -> None:
        """Collect what is pending on every node that a choice can make visible."""
        self._root = platter.root
        self.committed = platter.committed
        self.units: list[Unit] = []
        self.directories: list[DirectoryNode] = []
        self._shares: dict[FileNode, _Share] = {}
        self._made: dict[tuple[object, ...], bytes] = {}
        files: list[FileNode] = []
        self._collect(platter.root, {}, files)
        pairs = [(unit, file) for file in files for unit in file.pending]
        pairs.sort(key=lambda pair: pair[0].order)
        for index, (unit, file) in enumerate(pairs):
            share = self._shares.setdefault(file, _Share())
            share.mask |= 1 << index
            share.units.append((index, unit))
            self.units.append(unit)

    @property
    def everything(self) -> Survivors:
        """Return the choice that loses nothing."""
        return Survivors(
            (1 << len(self.units)) - 1, tuple(len(each.pending) for each in self.directories)
        )

    @property
    def nothing(self) -> Survivors:
        """Return the choice that loses everything since the last syncs."""
        return Survivors(0, (0,) * len(self.directories))

    def count(self) -> int:
        """Return how many things may be lost: units of files and changes of names."""
        return len(self.units) + sum(len(each.pending) for each in self.directories)

    def masks(self) -> list[int]:
        """Return the bits of each file's units."""
        return [share.mask for share in self._shares.values()]

    def mask_of(self, number: int) -> int:
        """Return the bits of one file's units, by the number that the platter gave it."""
        return sum(share.mask for node, share in self._shares.items() if node.number == number)

    def some(self, rand: Rand) -> Survivors:
        """Return a choice by chance."""
        return Survivors(
            sum(1 << index for index in range(len(self.units)) if rand.randrange(2)),
            tuple(rand.randrange(len(each.pending) + 1) for each in self.directories),
            fill=GARBAGE if rand.randrange(2) else b"\0",
        )

    def image(self, kept: Survivors) -> Image:
        """Return what the device has after this choice."""
        counts = dict(zip(map(id, self.directories), kept.names, strict=True))
        files: dict[str, bytes] = {}
        directories: list[str] = []
        below: list[tuple[str, DirectoryNode]] = [("", self._root)]
        while below:
            path, directory = below.pop()
            for name, node in directory.after(counts.get(id(directory), 0)).items():
                if isinstance(node, DirectoryNode):
                    directories.append(path + name)
                    below.append((f"{path}{name}/", node))
                else:
                    files[path + name] = self._content(node, kept)
        return Image(files, tuple(directories))

    def _content(self, node: FileNode, kept: Survivors) -> bytes:
        share = self._shares.get(node)
        if share is None or not share.mask & kept.units:
            return node.durable()
        torn = kept.torn if kept.torn and share.mask >> kept.torn[0] & 1 else None
        key = (node.number, share.mask & kept.units, kept.fill, torn)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._apply(node, share, kept)
        return made

    def _apply(self, node: FileNode, share: _Share, kept: Survivors) -> bytes:
        content = bytearray(node.durable())
        for index, unit in share.units:
            if not kept.units >> index & 1:
                continue
            if kept.torn and kept.torn[0] == index and isinstance(unit, SectorWrite):
                unit = _torn(unit, content, arrived=kept.torn[1])  # noqa: PLW2901 - what arrived
            apply(unit, content, fill=kept.fill)
        return bytes(content)

    def _collect(self, node: Node, seen: dict[int, Node], files: list[FileNode]) -> None:
        """Find the nodes with something pending that any prefix of changes can make visible."""
        if id(node) in seen:
            return
        seen[id(node)] = node
        if isinstance(node, FileNode):
            if node.pending:
                files.append(node)
            return
        if node.pending:
            self.directories.append(node)
        for child in _children(node):
            self._collect(child, seen, files)


def _children(directory: DirectoryNode) -> Mapping[Node, None]:
    """Return every node that this directory names after some prefix of its changes, in order."""
    children = dict.fromkeys(directory.durable.values())
    for count in range(1, len(directory.pending) + 1):
        children |= dict.fromkeys(directory.after(count).values())
    return children


def _torn(unit: SectorWrite, content: bytearray, *, arrived: int) -> SectorWrite:
    """Return a sector of which only the first bytes arrived; the rest is what was there."""
    start = unit.sector * SECTOR_BYTES
    rest = bytes(content[start + arrived : start + len(unit.content)])
    return unit._replace(content=unit.content[:arrived] + rest)
