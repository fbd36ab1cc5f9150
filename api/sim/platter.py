"""What is durable, what is only cached, and what may be left of it after a power cut.

Pure: no port, no fault, no clock. `api.sim.disk` puts the Disk port over it, its docstring is the
fault model; `tests/crash` replays recorded operations on it and asks for every state.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from api.sim.image import Image

SECTOR_BYTES: Final = 512
"""What a device writes whole or not at all, when it keeps its word."""


class SectorWrite(NamedTuple):
    """One sector of one write, as the page cache had it afterwards; shorter at a file's end."""

    order: int
    sector: int
    content: bytes


class Resize(NamedTuple):
    """The length of a file changes. `hole`: by skipping or `truncate`, so that it reads zeros."""

    order: int
    size: int
    hole: bool


Unit: TypeAlias = SectorWrite | Resize
"""What reaches the device, or does not, as a whole."""


class FileNode:
    """One file, by whatever names it has. `_base` is shared with an image until it is changed."""

    __slots__ = ("_base", "_durable", "_snapshot", "cached", "number", "pending", "warm")

    def __init__(self, number: int, base: bytes = b"") -> None:
        """Begin with durable content."""
        self.number = number
        self.pending: list[Unit] = []
        self.cached = bytearray(base)
        self.warm = not base
        """Whether the page cache has it; a file that was there at the start is read once first."""
        self._durable: bytearray | None = None
        self._base = base
        self._snapshot: bytes | None = base

    def durable(self) -> bytes:
        """Return what the device has, the same object while it does not change."""
        if self._snapshot is None:
            self._snapshot = bytes(self._durable or b"")
        return self._snapshot

    def write_durably(self, units: Sequence[Unit]) -> None:
        """Let the device have these units, in order."""
        if self._durable is None:
            self._durable = bytearray(self._base)
        for unit in units:
            apply(unit, self._durable)
        self._snapshot = None

    def forget_clean_pages(self) -> None:
        """Read again what the device has; what is pending stays on top of it."""
        self.warm = False
        self.cached = bytearray(self.durable())
        for unit in self.pending:
            apply(unit, self.cached)


class Put(NamedTuple):
    """A name appears."""

    order: int
    name: str
    node: "Node"


class Drop(NamedTuple):
    """A name goes."""

    order: int
    name: str


class Move(NamedTuple):
    """One name takes the place of another, in one step."""

    order: int
    old: str
    new: str


Change: TypeAlias = Put | Drop | Move


@dataclass(slots=True, eq=False)
class DirectoryNode:
    """Names: as programs see them, as the device has them, and the changes in between, in order."""

    number: int
    cached: dict[str, "Node"] = field(default_factory=dict)
    durable: dict[str, "Node"] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def after(self, count: int) -> dict[str, "Node"]:
        """Return the durable names with the first `count` changes made."""
        if not count:
            return self.durable
        names = dict(self.durable)
        for change in self.pending[:count]:
            change_names(names, change)
        return names


Node: TypeAlias = FileNode | DirectoryNode


def apply(unit: Unit, content: bytearray, *, fill: bytes = b"\0") -> None:
    """Let one unit reach the device; `fill` is what stands where a file grew without its data."""
    match unit:
        case SectorWrite(_, sector, data):
            start = sector * SECTOR_BYTES
            if start > len(content):
                _grow(content, start, fill=fill)
            content[start : start + len(data)] = data
        case Resize(_, size, hole):
            if size <= len(content):
                del content[size:]
            else:
                _grow(content, size, fill=b"\0" if hole else fill)


def _grow(content: bytearray, size: int, *, fill: bytes) -> None:
    missing = size - len(content)
    content += (fill * (missing // len(fill) + 1))[:missing]


def change_names(names: dict[str, Node], change: Change) -> None:
    """Make one change; one whose object is not there changes nothing."""
    match change:
        case Put(_, name, node):
            names[name] = node
        case Drop(_, name):
            names.pop(name, None)
        case Move(_, old, new):
            if old in names:
                names[new] = names.pop(old)


class Platter:
    """A tree of nodes, with everything that was written since the last sync of each.

    `committed` is the order of the newest change that ext4 would have in its journal: a sync of a
    directory, or of a file that grew, takes all earlier changes of names and sizes with it.
    """

    def __init__(self, image: Image, *, tracked: bool = True) -> None:
        """Begin with an image. Without tracking every write is durable at once, and costs less."""
        self.tracked = tracked
        self.root = DirectoryNode(0)
        self.order = 0
        self.committed = 0
        self._numbers = 1
        directories = {"": self.root}
        for name in image.directories:
            node = DirectoryNode(self._number())
            directories[name] = node
            self._adopt(directories, name, node)
        for name in sorted(image.files):
            self._adopt(directories, name, FileNode(self._number(), image.files[name]))

    def put_file(self, directory: DirectoryNode, name: str) -> FileNode:
        """Make a file, empty."""
        node = FileNode(self._number())
        self._change(directory, Put(self._next(), name, node))
        return node

    def put_directory(self, directory: DirectoryNode, name: str) -> DirectoryNode:
        """Make a directory."""
        node = DirectoryNode(self._number())
        self._change(directory, Put(self._next(), name, node))
        return node

    def drop(self, directory: DirectoryNode, name: str) -> None:
        """Take a name away."""
        self._change(directory, Drop(self._next(), name))

    def move(self, directory: DirectoryNode, old: str, new: str) -> None:
        """Replace one name by another."""
        self._change(directory, Move(self._next(), old, new))

    def write(self, file: FileNode, data: bytes | memoryview, position: int) -> None:
        """Write into the page cache; pending by sector."""
        cached, end = file.cached, position + len(data)
        if not len(data):
            return
        before = len(cached)
        if position > before:
            cached.extend(bytes(position - before))
        if position >= before:
            cached += data  # no temporary copy, as a slice that grows would make
        elif end <= before:
            with memoryview(cached) as view:
                view[position:end] = data
        else:
            cached[position:end] = data
        if not self.tracked:
            return
        order = self._next()
        if position > before:
            file.pending.append(Resize(order, position, hole=True))
        if end > before:
            file.pending.append(Resize(order, end, hole=False))
        for sector in range(position // SECTOR_BYTES, (end - 1) // SECTOR_BYTES + 1):
            start = sector * SECTOR_BYTES
            content = bytes(cached[start : start + SECTOR_BYTES])
            file.pending.append(SectorWrite(order, sector, content))

    def resize(self, file: FileNode, size: int) -> None:
        """Cut, or extend with zeros."""
        unit = Resize(self._next(), size, hole=True)
        apply(unit, file.cached)
        if self.tracked:
            file.pending.append(unit)

    def sync(self, file: FileNode) -> None:
        """Make a file's bytes and length durable."""
        if any(isinstance(unit, Resize) for unit in file.pending):
            self.committed = self.order
        if file.pending:
            file.write_durably(file.pending)
            file.pending = []

    def sync_directory(self, directory: DirectoryNode) -> None:
        """Make the names of one directory durable."""
        if self.tracked:
            directory.durable = directory.after(len(directory.pending))
            directory.pending = []
            self.committed = self.order

    def image(self, *, durable: bool = False) -> Image:
        """Return what programs see, or what the device has while nothing pending reached it."""
        files: dict[str, bytes] = {}
        directories: list[str] = []
        for name, node in walk(self.root, durable=durable):
            if isinstance(node, DirectoryNode):
                directories.append(name)
            else:
                files[name] = node.durable() if durable else bytes(node.cached)
        return Image(files, tuple(directories))

    def _adopt(self, directories: dict[str, DirectoryNode], name: str, node: Node) -> None:
        parent, _, last = name.rpartition("/")
        directories[parent].cached[last] = node
        if self.tracked:
            directories[parent].durable[last] = node

    def _change(self, directory: DirectoryNode, change: Change) -> None:
        change_names(directory.cached, change)
        if self.tracked:
            directory.pending.append(change)

    def _next(self) -> int:
        self.order += 1
        return self.order

    def _number(self) -> int:
        number = self._numbers
        self._numbers += 1
        return number


def walk(root: DirectoryNode, *, durable: bool) -> Iterator[tuple[str, Node]]:
    """Yield path and node of everything below a directory, parents first."""
    below: list[tuple[str, DirectoryNode]] = [("", root)]
    while below:
        path, directory = below.pop()
        for name, node in (directory.durable if durable else directory.cached).items():
            yield path + name, node
            if isinstance(node, DirectoryNode):
                below.append((f"{path}{name}/", node))
