"""What one connection may hold, and what it asks of the node's memory (P53)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """What one connection may hold, in bytes."""

    frame_bytes_max: int
    """Longer frames are refused on their length."""
    read_buffer_bytes: int
    """Size of the buffer of a quiet connection."""
    kept_buffer_bytes_max: int
    """A buffer that had to grow beyond this is given back when it is empty."""
    unwritten_bytes_max: int
    """With more than this waiting in the socket's buffer, no further frame is handled, and what
    waits is counted."""


class Memory(Protocol):
    """What all doors of a node may hold together."""

    @property
    def congested(self) -> bool:
        """Handle no more requests now."""
        ...

    def take(self, size_bytes: int) -> None:
        """Count bytes that are held from now on."""
        ...

    def give_back(self, size_bytes: int) -> None:
        """Count bytes that were let go."""
        ...

    def when_relieved(self, call: Callable[[], None]) -> None:
        """Call once when it is no longer congested."""
        ...

    def forget(self, call: Callable[[], None]) -> None:
        """Do not call any more."""
        ...


class Reader(Protocol):
    """A connection that reads a long frame, or would."""

    @property
    def moved_bytes(self) -> int:
        """Only grows while its peer does something for the room to be free soon."""
        ...

    @property
    def is_whole(self) -> bool:
        """The frame that has room is here, and waits for us: it is not its peer that keeps it."""
        ...

    def granted(self, size_bytes: int) -> None:
        """It is its turn: so much room is reserved for it."""
        ...

    def give_way(self) -> None:
        """Others wait: vacate the room now if no frame is on its way that needs it."""
        ...

    def too_slow(self) -> None:
        """Others wait, and its peer does not send: end, and vacate the room with that."""
        ...


class ReadRoom(Protocol):
    """Room for frames that are longer than the buffer of a quiet connection."""

    @property
    def contended(self) -> bool:
        """Somebody waits."""
        ...

    def reserve(self, reader: Reader, size_bytes: int) -> bool:
        """Reserve room for a whole frame; false: the reader waits, and is told when it has it."""
        ...

    def vacate(self, reader: Reader, size_bytes: int) -> None:
        """Give back what was reserved: the same size."""
        ...

    def leave(self, reader: Reader) -> None:
        """Wait no more."""
        ...
