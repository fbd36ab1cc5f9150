"""Any bytes as a checkpoint file."""

from logstore.checkpoint import (
    NO_TIME,
    CheckpointRow,
    SegmentRow,
    decode,
    encode_file,
    encode_row,
)
from logstore.event_bounds import UNKNOWN, Bounds
from logstore.removed import Removed
from model.errors import DirectoryRefused, MalformedError
from model.ids import AppendTimeMs, Offset, PartitionId, TopicId
from tests.fuzz.sealing import sealed_at_end


def samples() -> list[bytes]:
    """Return checkpoints of no and of some partitions, with tombstones."""
    rows = [
        encode_row(
            CheckpointRow(
                partition=PartitionId(TopicId(bytes([number]) * 16), number),
                log_start=Offset(3),
                end_offset=Offset(90),
                sequence=17,
                high_watermark=Offset(88),
                removed=Removed(AppendTimeMs(9), number, (Bounds(2, 70),) * number),
                segments=(
                    SegmentRow(
                        Offset(0), 900, 48, AppendTimeMs(10), AppendTimeMs(50), Bounds(1, 9)
                    ),
                    SegmentRow(Offset(80), 0, 0, NO_TIME, NO_TIME, UNKNOWN),
                )[: number + 1],
            )
        )
        for number in (0, 1)
    ]
    grave = (PartitionId(TopicId(bytes(16)), 9), 40)
    time = AppendTimeMs(1_700_000_000_000)
    return [
        encode_file([], [], covered=1, clock_floor=time),
        encode_file(rows, [], covered=20, clock_floor=time),
        encode_file(rows, [grave, grave], covered=20, clock_floor=time),
    ]


def fuzz(data: bytes) -> None:
    """Read the file as it is, and with its checksum made right."""
    for file in (data, sealed_at_end(data)):
        try:
            found = decode(file)
        except (MalformedError, DirectoryRefused):
            continue
        again = encode_file(
            list(map(encode_row, found.rows)), list(found.tombstones),
            covered=found.covered, clock_floor=found.clock_floor,
        )  # fmt: skip
        assert again == file, "not what was read"
