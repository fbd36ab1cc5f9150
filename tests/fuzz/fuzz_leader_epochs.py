"""Any bytes as a table of leader epochs."""

from typing import Final

from logstore.leader_epochs import EpochStart, LeaderEpochs, decode, encode
from model.errors import MalformedError
from model.ids import LeaderEpoch, Offset
from tests.fuzz.sealing import sealed_at

_CRC_AT: Final = 16


def samples() -> list[bytes]:
    """Return tables of no, one and many rows."""
    return [
        encode(LeaderEpochs([EpochStart(LeaderEpoch(2 * n), Offset(9 * n)) for n in range(rows)]))
        for rows in (0, 1, 25)
    ]


def fuzz(data: bytes) -> None:
    """Read the file as it is, and with its checksum made right."""
    for file in (data, sealed_at(data, _CRC_AT, data[:_CRC_AT], data[_CRC_AT + 4 :])):
        try:
            table = decode(file)
        except MalformedError:
            continue
        assert encode(table) == file, "not what was read"
        table.end_of(LeaderEpoch(4), Offset(1_000))
        table.trim(Offset(20))
        table.roll_back(Offset(30))
