"""Who votes in the controller quorum: node ids bound to the directories that hold their logs.

A node that lost its directory comes back under another uuid and is no longer the voter that it was
(P15): its votes and entries are gone.
"""

import struct
from typing import Final, NamedTuple

from model.errors import MalformedError
from model.ids import NodeId

VOTERS_MAX: Final = 64
"""More is no quorum that anybody runs, but damage."""
_VOTER: Final = struct.Struct(">i16s")


class Voter(NamedTuple):
    """One member of the quorum."""

    node: NodeId
    directory: bytes
    """The 16 bytes of its directory's uuid."""


def encode_voters(voters: tuple[Voter, ...]) -> bytes:
    """Return 20 bytes for each: i32 node, 16 bytes directory uuid. The count stands elsewhere."""
    return b"".join(_VOTER.pack(*voter) for voter in voters)


def decode_voters(rows: bytes, *, at: int) -> tuple[Voter, ...]:
    """Return the voters of a row table that begins at byte `at` of its file.

    Raises:
        MalformedError: none, too many, part of one, or a node that stands there twice.
    """
    if len(rows) % _VOTER.size:
        raise MalformedError("voters", at, f"{len(rows)} bytes")
    voters = tuple(Voter(NodeId(node), uuid) for node, uuid in _VOTER.iter_unpack(rows))
    if not 0 < len({voter.node for voter in voters}) == len(voters) <= VOTERS_MAX:
        raise MalformedError("voters", at, f"{len(voters)} voters, or one twice")
    return voters


VOTER_BYTES: Final = _VOTER.size
