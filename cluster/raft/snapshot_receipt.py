"""A snapshot that arrives in chunks, put together in memory: the metadata of a cluster fits there.

Chunks count only in their order; whatever comes twice, too early or of another file is not taken,
and the answer says from which byte to go on. Complete is what its own checksums say is whole.
"""

from cluster.raft.log import SnapshotFile
from cluster.raft.messages import SnapshotChunk
from cluster.raft.snapshot import decode
from model.errors import MalformedError
from model.ids import Index


class SnapshotReceipt:
    """The bytes of one snapshot, as far as they have come."""

    __slots__ = ("_content", "_last_index")

    def __init__(self) -> None:
        """Begin with none."""
        self._content = bytearray()
        self._last_index = Index(0)

    @property
    def received(self) -> int:
        """The byte that comes next."""
        return len(self._content)

    def take(self, chunk: SnapshotChunk, *, bytes_max: int) -> SnapshotFile | None:
        """Take a chunk in; return the snapshot if it was the last.

        A whole file that is not what its checksums say, or longer than `bytes_max`, is forgotten:
        it is sent again from its beginning.
        """
        if chunk.last_index != self._last_index or chunk.offset == 0:
            self._content.clear()
            self._last_index = chunk.last_index
        if chunk.offset != len(self._content) or chunk.size_bytes > bytes_max:
            return None
        self._content += chunk.chunk
        if len(self._content) < chunk.size_bytes:
            return None
        content = bytes(self._content)
        self._content.clear()
        try:
            snapshot = decode(content)
        except MalformedError:
            return None
        if (snapshot.last_index, snapshot.last_term) != (chunk.last_index, chunk.last_term):
            return None
        return SnapshotFile.of(snapshot, content)
