"""Term and vote of one member of the controller quorum: the small file that makes a vote final.

Format: docs/formats/metadata_log.md, quorum state, version 1. Replaced whole and synced before
anything that depends on it is said. A damaged or missing file fails closed: the node does not
vote, because it may have voted already in this very term (P15).
"""

import struct
from dataclasses import dataclass
from typing import Final

from cluster.raft.voters import VOTER_BYTES, Voter, decode_voters, encode_voters
from logstore.replace_file import read_file, replace_file, seal, unseal
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import NodeId, Term
from model.ports import Disk

NAME: Final = "quorum_state"
MAGIC: Final = b"TLQUORUM"
VERSION: Final = 1
_HEAD: Final = struct.Struct(">8sHHQi16s")  # magic, version, voters, term, voted for, directory
_NOBODY: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumState:
    """What a member must never forget."""

    term: Term
    """The newest term that it has heard of. Never falls."""
    voted_for: NodeId | None
    """Whom it voted for in that term."""
    directory: bytes
    """uuid of the directory that this was written for: a copy elsewhere is no voter."""
    voters: tuple[Voter, ...]
    """The quorum as it was when this was written; the log's newest configuration is the truth."""


def encode(state: QuorumState) -> bytes:
    """Return the file's bytes."""
    voted_for = _NOBODY if state.voted_for is None else state.voted_for
    head = _HEAD.pack(MAGIC, VERSION, len(state.voters), state.term, voted_for, state.directory)
    return seal(head + encode_voters(state.voters))


def decode(file: bytes) -> QuorumState:
    """Return what a file holds.

    Raises:
        MalformedError: not what was written.
        DirectoryRefused: exit 13, the checksum holds and the version is a newer one.
    """
    body = bytes(unseal(file, "quorum state", magic=MAGIC, version=VERSION))
    if len(body) < _HEAD.size:
        raise MalformedError("quorum state", 0, f"{len(file)} bytes")
    _, _, count, term, voted_for, directory = _HEAD.unpack_from(body)
    if len(body) != _HEAD.size + count * VOTER_BYTES:
        raise MalformedError("quorum state", _HEAD.size, f"{len(file)} bytes, {count} voters")
    return QuorumState(
        term=Term(term),
        voted_for=None if voted_for == _NOBODY else NodeId(voted_for),
        directory=directory,
        voters=decode_voters(body[_HEAD.size :], at=_HEAD.size),
    )


def save(disk: Disk, directory: str, state: QuorumState) -> None:
    """Replace the file in a directory; durable when this returns. Blocks.

    Raises:
        OSError: the node must stop, and may not vote again before a restart.
    """
    replace_file(disk, f"{directory}/{NAME}", encode(state))
    disk.sync_directory(directory)


def load(disk: Disk, directory: str) -> QuorumState | None:
    """Return what the file in a directory holds, None if there is no file. Blocks.

    Raises:
        DirectoryRefused: damaged (exit 11) or of a newer format (exit 13).
    """
    file = read_file(disk, f"{directory}/{NAME}")
    if file is None:
        return None
    try:
        return decode(file)
    except MalformedError as damage:
        detail = f"{directory}/{NAME} is damaged, so this node may not vote: {damage}"
        raise DirectoryRefused(DirectoryExit.FAILED, detail) from damage
