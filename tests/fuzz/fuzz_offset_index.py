"""Any bytes as an `.index` file."""

from typing import Final

from logstore.event_bounds import Bounds
from logstore.offset_index import OffsetIndex, Witness
from model.errors import MalformedError
from model.ids import LeaderEpoch, Offset, Position
from tests.fuzz.sealing import sealed_at

BASE: Final = Offset(100)
_CRC_AT: Final = 40


def samples() -> list[bytes]:
    """Return indexes of no, one and many rows."""
    files = []
    for rows in (0, 1, 40):
        index = OffsetIndex(BASE)
        for row in range(rows):
            witness = Witness(Position(64 * row), LeaderEpoch(1), 77)
            index.append_block(
                Offset(BASE + 3 * row), Position(64 * row), Position(64 * (row + 1)),
                bounds=Bounds(1_000 * row, 1_000 * row + 900), witness=witness,
            )  # fmt: skip
        files.append(index.encode())
    return files


def fuzz(data: bytes) -> None:
    """Read the file as it is, and with its checksum made right."""
    for file in (data, sealed_at(data, _CRC_AT, data[:_CRC_AT], data[_CRC_AT + 4 :])):
        try:
            index = OffsetIndex.decode(file, BASE)
        except MalformedError:
            continue
        assert index.encode() == file or not len(index), "not what was read"
        list(index.rows())
        index.floor(Offset(BASE + 7))
        index.next_reaching(0, 5_000)
        index.truncate(Offset(BASE + 9))
