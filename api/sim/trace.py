"""Operations of a disk as values: recorded from a run, replayed as often as one likes.

Nodes are named by the numbers that the platter gave them. Replaying on the same first image gives
the same numbers, so a trace from which a sync was left out still means the same files.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from api.sim.platter import DirectoryNode, FileNode, Node, Platter, walk


class Create(NamedTuple):
    """A file appears in a directory."""

    directory: int
    name: str


class MakeDirectory(NamedTuple):
    """A directory appears in a directory."""

    directory: int
    name: str


class Remove(NamedTuple):
    """A name goes: of a file or of an empty directory."""

    directory: int
    name: str


class Rename(NamedTuple):
    """One name replaces another."""

    directory: int
    old: str
    new: str


class Write(NamedTuple):
    """Bytes go into the page cache; `at` is a byte position."""

    file: int
    at: int
    data: bytes


class Truncate(NamedTuple):
    """A file is cut, or extended with zeros."""

    file: int
    size: int


class Sync(NamedTuple):
    """`fdatasync` has returned."""

    file: int
    name: str


class SyncDirectory(NamedTuple):
    """`fsync` of a directory has returned."""

    directory: int
    name: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that the workload says about itself, such as an acknowledgement that it got."""

    value: object


Step: TypeAlias = (
    Create | MakeDirectory | Remove | Rename | Write | Truncate | Sync | SyncDirectory | Mark
)


class Replay:
    """A platter that recorded steps are done to again."""

    def __init__(self, platter: Platter) -> None:
        """Begin with the image that the recording began with."""
        self.platter = platter
        nodes: list[Node] = [node for _, node in walk(platter.root, durable=False)]
        self._files = {node.number: node for node in nodes if isinstance(node, FileNode)}
        self._directories = {node.number: node for node in nodes if isinstance(node, DirectoryNode)}
        self._directories[0] = platter.root

    def do(self, step: Step) -> None:
        """Do one step."""
        match step:
            case Create(directory, name):
                file_made = self.platter.put_file(self._directories[directory], name)
                self._files[file_made.number] = file_made
            case MakeDirectory(directory, name):
                made = self.platter.put_directory(self._directories[directory], name)
                self._directories[made.number] = made
            case Remove(directory, name):
                self.platter.drop(self._directories[directory], name)
            case Rename(directory, old, new):
                self.platter.move(self._directories[directory], old, new)
            case Write(file, at, data):
                self.platter.write(self._files[file], data, at)
            case Truncate(file, size):
                self.platter.resize(self._files[file], size)
            case Sync(file):
                self.platter.sync(self._files[file])
            case SyncDirectory(directory):
                self.platter.sync_directory(self._directories[directory])
            case Mark():
                pass
