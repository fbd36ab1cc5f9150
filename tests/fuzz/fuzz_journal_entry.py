"""Any bytes as an entry of the commit journal, under the salt that its file has."""

from typing import Final

from logstore.journal_entry import (
    SALT_BYTES,
    Append,
    AppendDirect,
    ClockReserved,
    Delete,
    Entry,
    Place,
    Stamp,
    Truncate,
    decode,
    encode,
    was_synced,
)
from model.errors import MalformedError
from model.ids import AppendTimeMs, LeaderEpoch, Offset, PartitionId, Position, TopicId
from tests.fuzz.sealing import sealed_at

SALT: Final = bytes.fromhex("a1b2c3d4e5f60718")
PARTITION: Final = PartitionId(TopicId(bytes(range(16))), 3)
PLACE: Final = Place(Offset(7), Offset(0), Position(180))
ENTRIES: Final[tuple[Entry, ...]] = (
    Append(PARTITION, PLACE, LeaderEpoch(2), AppendTimeMs(1_700_000_000_010), [b"batch" * 20]),
    AppendDirect(PARTITION, PLACE, LeaderEpoch(2), AppendTimeMs(1_700_000_000_010), 4096, 77),
    Truncate(PARTITION, Offset(5)),
    Delete(PARTITION),
    ClockReserved(AppendTimeMs(1_700_000_000_500)),
)


def samples() -> list[bytes]:
    """Return each kind alone, and all of them in a row."""
    each = [
        b"".join(encode(entry, Stamp(9 + number, 5 + number), salt=SALT))
        for number, entry in enumerate(ENTRIES)
    ]
    return [*each, b"".join(each), bytes(200)]


def fuzz(data: bytes) -> None:
    """Read entries as far as they go, as they are and with the first checksum made right."""
    length = int.from_bytes(data[12:16], "big")
    resealed = sealed_at(SALT + data[SALT_BYTES:], 8, data[12:length])
    for journal in (data, resealed):
        at = Position(0)
        try:
            while True:
                decoded = decode(journal, at, salt=SALT)
                again = b"".join(encode(decoded.entry, decoded.stamp, salt=SALT))
                assert again == journal[at : at + decoded.size_bytes], "not what was read"
                at = Position(at + decoded.size_bytes)
        except MalformedError:
            was_synced(journal, at, 10, salt=SALT)
