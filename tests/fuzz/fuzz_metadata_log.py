"""Any bytes as a file of the metadata log."""

from typing import Final

from cluster.raft.entry import Entry, EntryKind, encode
from cluster.raft.log_file import (
    HEAD_BYTES,
    FileHead,
    decode_head,
    encode_head,
    rotted,
    rotted_head,
    scan,
)
from model.errors import DirectoryRefused, MalformedError
from model.ids import Index, Term
from tests.fuzz.sealing import sealed_at

HEAD: Final = FileHead(first_index=Index(5), term_before=Term(1), salt=b"saltsalt")
_HEAD_CRC_AT: Final = 36
READS: Final = 8
"""Twice, and each time what does not parse is searched byte by byte for a later entry."""


def samples() -> list[bytes]:
    """Return a head alone, and with entries of every kind."""
    kinds = (EntryKind.LEADER, EntryKind.RECORDS, EntryKind.VOTERS, EntryKind.RECORDS)
    entries = b"".join(
        encode(
            Entry(Term(2), Index(5 + number), kind, b"payload" * number),
            synced=Index(4 + number),
            salt=HEAD.salt,
        )
        for number, kind in enumerate(kinds)
    )
    return [encode_head(HEAD), encode_head(HEAD) + entries]


def fuzz(data: bytes) -> None:
    """Read the file as it is, and with the checksums of head and first entry made right."""
    resealed = sealed_at(data, _HEAD_CRC_AT, data[:_HEAD_CRC_AT])
    salt = resealed[28:36]
    resealed = resealed[:HEAD_BYTES] + salt + resealed[HEAD_BYTES + 8 :]
    length = int.from_bytes(resealed[HEAD_BYTES + 12 : HEAD_BYTES + 16], "big")
    covered = resealed[HEAD_BYTES + 12 : HEAD_BYTES + length]
    resealed = sealed_at(resealed, HEAD_BYTES + 8, covered)
    for file in (data, resealed):
        try:
            head = decode_head(file)
            found = scan(file, head)
        except MalformedError:
            rotted_head(file, Index(5))
            continue
        except DirectoryRefused:
            continue
        assert len(found.positions) == len(found.terms)
        assert found.end <= len(file)
        rotted(file, found)
