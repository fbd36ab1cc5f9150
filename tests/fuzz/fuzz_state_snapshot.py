"""Any bytes as a snapshot of a coordinator's state, and as the records in it."""

from contextlib import suppress
from typing import Final

from api.cli.state_rows import record_row
from cluster.state_partition.snapshot import Framed, StateSnapshot, decode, encode
from consumer_groups.codec import encode as encode_record
from consumer_groups.records import GroupChanged, GroupEpoch, GroupKind
from logstore.replace_file import seal
from model.errors import DirectoryRefused, MalformedError
from model.ids import AppendTimeMs, GroupId, Offset, PartitionId, TopicId

PLACE: Final = PartitionId(TopicId(bytes(range(16))), 3)
CRC_BYTES: Final = 4


def samples() -> list[bytes]:
    """Return snapshots of no, one and several groups."""
    files = []
    for groups in (0, 1, 5):
        records = tuple(
            Framed(
                *encode_record(
                    GroupChanged(
                        group=GroupId(f"group-{number}"),
                        epoch=GroupEpoch(number),
                        kind=GroupKind.NATIVE,
                        state_since=AppendTimeMs(1_000),
                        assignor="uniform",
                    )
                )
            )
            for number in range(groups)
        )
        files.append(encode(StateSnapshot(partition=PLACE, offset=Offset(99), records=records)))
    return files


def fuzz(data: bytes) -> None:
    """Read the file as it is, and with its checksum made right; show what it says."""
    for file in (data, seal(data[:-CRC_BYTES])):
        with suppress(MalformedError, DirectoryRefused):
            for framed in decode(file).records[:10]:
                record_row(framed)
