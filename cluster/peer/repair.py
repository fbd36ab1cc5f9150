"""Batches that another replica has whole, asked for by one whose own are damaged.

Format: docs/formats/peer_frames.md, repair. Not a part of the replica stream: who asks keeps its
place in that, leader or follower, and who answers need not lead. What is below the high watermark
of the one who answers is the same everywhere; nothing else is asked for.

Who reads is given base offsets that rise and append times that never fall, within what the frame
says. Whether the batches are whole, and the ones that belong there, is for who asked to see
(`logstore.replacement`). A replica that cannot answer refuses with a reason, as any call.
"""

from struct import Struct
from typing import Final, NamedTuple

from cluster.peer.fields import BodyReader, partition_bytes
from cluster.peer.replica_frames import Buffer, SentBatch, check_rows
from cluster.peer.table import Family, Frame, FrameType, head, packed
from model.ids import AppendTimeMs, Offset, PartitionId

PART_BYTES_MAX: Final = 1 << 20
"""Of batches in one answer, unless a single one is larger: acks come through between two."""
_ASK: Final = Struct(">qqI")  # start, end, most bytes
_PART: Final = Struct(">qqI")  # start, end, rows
_ROW: Final = Struct(">qqI")  # base offset, append time, bytes


class AskBatches(NamedTuple):
    """Replica to replica: send me whole batches from `start` on, all below `end`."""

    partition: PartitionId
    start: Offset
    end: Offset
    bytes_max: int


class BatchesPart(NamedTuple):
    """The batches [start, end), at least one, raw, each with its append time."""

    partition: PartitionId
    start: Offset
    end: Offset
    batches: tuple[SentBatch, ...]
    """Read from a frame they lie in its body."""


def encode_ask(ask: AskBatches, *, correlation: int) -> bytes:
    """Return the whole frame."""
    partition, *fields = ask
    where = partition_bytes(partition)
    return packed(FrameType.ASK_BATCHES, where, _ASK.pack(*fields), correlation=correlation)


def encode_part(part: BatchesPart, *, correlation: int) -> list[Buffer]:
    """Return a frame in pieces: head and rows as one, then each batch as it is, not copied."""
    partition, start, end, batches = part
    rows = [_ROW.pack(base, time, len(raw)) for base, time, raw in batches]
    fields = _PART.pack(start, end, len(batches))
    front = b"".join((partition_bytes(partition), fields, *rows))
    size = len(front) + sum(len(batch.raw) for batch in batches)
    begins = head(FrameType.BATCHES_PART, size, correlation=correlation) + front
    return [begins, *(batch.raw for batch in batches)]


def decode(frame: Frame) -> AskBatches | BatchesPart:
    """Return what a frame about a repair says.

    Raises:
        MalformedError: not what was written.
    """
    assert frame.row.family is Family.REPAIR, "PEER_FRAME_FAMILY"
    reader = BodyReader(frame)
    partition = reader.partition()
    if frame.type is FrameType.ASK_BATCHES:
        start, end, bytes_max = reader.unpack(_ASK)
        reader.check(0 <= start < end, f"batches from {start} to {end}", back=_ASK.size)
        sound = 0 < bytes_max <= PART_BYTES_MAX
        reader.check(sound, f"{bytes_max} bytes, not 1 to {PART_BYTES_MAX}", back=4)
        reader.finish()
        return AskBatches(partition, Offset(start), Offset(end), bytes_max)
    start, end, count = reader.unpack(_PART)
    reader.check(0 <= start < end, f"batches from {start} to {end}", back=_PART.size)
    rows = reader.rows(count, lambda: reader.unpack(_ROW), least_bytes=_ROW.size)
    check_rows(reader, rows, (start, end))
    sizes = sum(size for _, _, size in rows)
    reader.check(sizes == reader.left, f"batches of {sizes} bytes in {reader.left}")
    batches = tuple(
        SentBatch(Offset(base), AppendTimeMs(time), reader.view(size)) for base, time, size in rows
    )
    reader.finish()
    return BatchesPart(partition, Offset(start), Offset(end), batches)
