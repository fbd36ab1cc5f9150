"""The snapshot of a state partition, fetched in parts by a new replica from the leader.

Format: docs/formats/peer_frames.md, state snapshot. The file itself is docs/formats/
state_snapshot.md: any range of its bytes is a part, and its checksum is looked at when the last one
has arrived. Who fetches names the offset from the second part on; a leader that has a newer
snapshot by then and not that one any more says so by the answer's offset, and all begins anew.
"""

from struct import Struct
from typing import Final, NamedTuple

from cluster.peer.fields import BodyReader, partition_bytes
from cluster.peer.table import Family, Frame, FrameType, packed
from model.ids import Offset, PartitionId

PART_BYTES_MAX: Final = 1 << 20
"""Small enough that acks of other partitions come through between two."""
_ASK: Final = Struct(">qQI")  # offset, position, most bytes
_PART: Final = Struct(">qQQ")  # offset, position, size of the file
_NONE: Final = -1


class AskState(NamedTuple):
    """Follower to leader: send me a range of a snapshot's bytes."""

    partition: PartitionId
    offset: Offset | None
    """Which snapshot; None: the newest."""
    position: int
    """Byte of the file."""
    bytes_max: int


class StatePart(NamedTuple):
    """Leader to follower: that range, or what is left of the file."""

    partition: PartitionId
    offset: Offset | None
    """None: there is no snapshot, the log reaches back to its beginning."""
    position: int
    size_bytes: int
    """Of the whole file."""
    content: bytes | memoryview
    """Read from a frame it lies in the connection's buffer: valid while the frame is handled."""


def encode_ask(ask: AskState, *, correlation: int) -> bytes:
    """Return the whole frame."""
    partition, offset, position, bytes_max = ask
    fields = _ASK.pack(_NONE if offset is None else offset, position, bytes_max)
    where = partition_bytes(partition)
    return packed(FrameType.ASK_STATE, where, fields, correlation=correlation)


def encode_part(part: StatePart, *, correlation: int) -> bytes:
    """Return the whole frame."""
    partition, offset, position, size_bytes, content = part
    fields = _PART.pack(_NONE if offset is None else offset, position, size_bytes)
    parts = (partition_bytes(partition), fields, bytes(content))
    return packed(FrameType.STATE_PART, *parts, correlation=correlation)


def decode(frame: Frame) -> AskState | StatePart:
    """Return what a frame about a state snapshot says.

    Raises:
        MalformedError: not what was written.
    """
    assert frame.row.family is Family.STATE, "PEER_FRAME_FAMILY"
    reader = BodyReader(frame)
    partition = reader.partition()
    if frame.type is FrameType.ASK_STATE:
        offset, position, bytes_max = reader.unpack(_ASK)
        reader.check(offset >= _NONE, f"offset {offset}", back=_ASK.size)
        sound = 0 < bytes_max <= PART_BYTES_MAX
        reader.check(sound, f"{bytes_max} bytes, not 1 to {PART_BYTES_MAX}", back=4)
        reader.finish()
        return AskState(partition, _offset(offset), position, bytes_max)
    offset, position, size_bytes = reader.unpack(_PART)
    reader.check(offset >= _NONE, f"offset {offset}", back=_PART.size)
    content = reader.rest()
    why = f"{len(content)} bytes at {position} of a file of {size_bytes}"
    sound = position + len(content) <= size_bytes and (offset != _NONE or not size_bytes)
    reader.check(sound, why, back=len(content))
    return StatePart(partition, _offset(offset), position, size_bytes, content)


def _offset(number: int) -> Offset | None:
    return None if number == _NONE else Offset(number)
