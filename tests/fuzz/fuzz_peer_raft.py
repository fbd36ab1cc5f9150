"""Any bytes as a message of the controller quorum between nodes."""

from typing import Final

from cluster.peer.table import Family, FrameType
from logstore.crc32c import crc32c
from model.errors import MalformedError
from tests.peer_frames import comparable, of_family, read, write

_CRC_AT: Final = 90
"""Of an append: over all that stands behind it."""


def samples() -> list[bytes]:
    """Return a frame of every type of the quorum."""
    return of_family(Family.RAFT)


def sealed(data: bytes) -> bytes:
    """Return an append with its checksum made right."""
    if len(data) < _CRC_AT + 4 or data[0] != FrameType.APPEND_REQUEST:
        return data
    crc = crc32c(data[_CRC_AT + 4 :]).to_bytes(4, "big")
    return data[:_CRC_AT] + crc + data[_CRC_AT + 4 :]


def fuzz(data: bytes) -> None:
    """Read a frame as it is and sealed; what was read is what is written and read again."""
    for frame in (data, sealed(data)):
        try:
            said = read(frame)
        except MalformedError:
            continue
        again = write(said)
        assert len(again) == len(frame), "not as long as what was read"
        assert again[6:] == frame[6:], "not the body that was read"
        assert comparable(read(again)) == comparable(said), "not what was read"
