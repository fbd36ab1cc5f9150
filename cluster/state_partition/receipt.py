"""A snapshot on its way from another replica: which part is asked for next, and when it is whole.

A replica that begins anew above offset 0 has a log and no state. It asks for the newest snapshot;
one below the beginning of its log is of no use, and is answered by asking for one that reaches as
far: whoever leads then makes one.

Invariants:
    STATE_PART_FITS    what was put together is as long as the parts said.
"""

from cluster.peer.snapshot import PART_BYTES_MAX, AskState, StatePart
from model.ids import Offset, PartitionId


class Receipt:
    """Parts of one file, in order. A part of another file begins anew."""

    __slots__ = ("_at_least", "_content", "_offset", "_partition", "_size_bytes", "_too_old")

    def __init__(self, partition: PartitionId, *, at_least: Offset) -> None:
        """Begin with nothing; the snapshot is to reach `at_least`, where the log begins."""
        self._partition = partition
        self._at_least = at_least
        self._offset: Offset | None = None
        self._size_bytes = 0
        self._content = bytearray()
        self._too_old = False

    def ask(self) -> AskState:
        """Return what to ask for now."""
        wanted = self._offset
        if wanted is None and self._too_old:
            wanted = self._at_least
        return AskState(self._partition, wanted, len(self._content), PART_BYTES_MAX)

    def take(self, part: StatePart) -> bool:
        """Take an answer; tell whether it was of use: if not, ask again in a while."""
        if part.partition != self._partition:
            return False
        if part.offset is None or part.offset < self._at_least:
            self._begin(None, 0)
            self._too_old = True
            return False
        if part.offset != self._offset or part.size_bytes != self._size_bytes:
            self._begin(part.offset, part.size_bytes)
        if part.position != len(self._content):
            return False
        self._content += part.content
        assert len(self._content) <= self._size_bytes, "STATE_PART_FITS"
        return len(part.content) > 0

    @property
    def file(self) -> bytes | None:
        """The whole file; None: some of it is missing."""
        whole = self._size_bytes > 0 and len(self._content) == self._size_bytes
        return bytes(self._content) if whole else None

    def begin_again(self) -> None:
        """Forget what came: together it is no snapshot."""
        self._begin(None, 0)

    def _begin(self, offset: Offset | None, size_bytes: int) -> None:
        self._offset, self._size_bytes = offset, size_bytes
        self._content.clear()
