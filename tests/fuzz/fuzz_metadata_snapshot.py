"""Any bytes as a snapshot of the metadata."""

from typing import Final

from cluster.raft.snapshot import Snapshot, decode, encode
from cluster.raft.voters import VOTER_BYTES, Voter
from model.errors import DirectoryRefused, MalformedError
from model.ids import Index, NodeId, Term
from tests.fuzz.sealing import sealed_at

_HEAD_BYTES: Final = 40
_PAYLOAD_CRC_AT: Final = 36


def samples() -> list[bytes]:
    """Return snapshots with and without payload."""
    voters = tuple(Voter(NodeId(number), bytes([number]) * 16) for number in range(2))
    return [
        encode(Snapshot(last_index=Index(9), last_term=Term(2), voters=voters, payload=payload))
        for payload in (b"", b"records" * 30)
    ]


def fuzz(data: bytes) -> None:
    """Read the file as it is, and with both checksums made right."""
    count = int.from_bytes(data[10:12], "big")
    start = _HEAD_BYTES + count * VOTER_BYTES
    resealed = sealed_at(data, _PAYLOAD_CRC_AT, data[start + 4 :])
    resealed = sealed_at(resealed, start, resealed[:start])
    for file in (data, resealed):
        try:
            snapshot = decode(file)
        except (MalformedError, DirectoryRefused):
            continue
        assert encode(snapshot) == file, "not what was read"
