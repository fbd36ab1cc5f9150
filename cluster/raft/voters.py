"""Who votes in the controller quorum: node ids bound to the directories that hold their logs.

A node that lost its directory comes back under another uuid and is no longer the voter that it was
(P15): its votes and entries are gone. Beside the voters a configuration may name learners, which
are sent the log and do not count.
"""

import struct
from typing import Final, NamedTuple

from model.errors import MalformedError
from model.ids import NodeId

VOTERS_MAX: Final = 64
"""More is no quorum that anybody runs, but damage."""
_VOTER: Final = struct.Struct(">i16s")


class Voter(NamedTuple):
    """One member of the quorum, also one that only learns; the identity that messages carry."""

    node: NodeId
    directory: bytes
    """The 16 bytes of its directory's uuid."""


class Configuration(NamedTuple):
    """Who belongs to the quorum, from one entry of the log on."""

    voters: tuple[Voter, ...]
    learners: tuple[Voter, ...] = ()

    @property
    def members(self) -> tuple[Voter, ...]:
        """Everybody that the leader sends the log to."""
        return self.voters + self.learners


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


def encode_configuration(configuration: Configuration) -> bytes:
    """Return the voters' rows, then the learners', whose node ids are complemented."""
    learners = tuple(Voter(NodeId(~node), uuid) for node, uuid in configuration.learners)
    return encode_voters(configuration.voters + learners)


def decode_configuration(rows: bytes, *, at: int) -> Configuration:
    """Return what a row table that begins at byte `at` of its file says.

    Raises:
        MalformedError: no voter, too many members, part of a row, or a node that stands there
            twice.
    """
    rowed = decode_voters(rows, at=at)
    voters = tuple(row for row in rowed if row.node >= 0)
    learners = tuple(Voter(NodeId(~node), uuid) for node, uuid in rowed if node < 0)
    nodes = {member.node for member in voters + learners}
    if not voters or len(nodes) < len(rowed) or rowed[: len(voters)] != voters:
        raise MalformedError("voters", at, f"{len(voters)} voters, or a node twice")
    return Configuration(voters, learners)


VOTER_BYTES: Final = _VOTER.size
