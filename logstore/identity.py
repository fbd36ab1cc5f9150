"""Whose log directory this is: the small files `identity` and `clean`.

Formats: docs/formats/identity.md, version 1. Pure.
"""

import struct
from typing import Final, NamedTuple

from logstore.replace_file import seal, unseal
from model.errors import MalformedError
from model.ids import AppendTimeMs, NodeId, RegistrationEpoch

MAGIC: Final = b"TLIDENTY"
CLEAN_MAGIC: Final = b"TLCLEAN\0"
VERSION: Final = 1
UUID_BYTES: Final = 16
_HEAD: Final = struct.Struct(">8sHH16siqH")  # magic, version, zero, uuid, node, epoch, name bytes
_CLEAN: Final = struct.Struct(">8sHHIQq")


class Identity(NamedTuple):
    """Who a log directory belongs to."""

    directory: bytes
    """16 random bytes, made with the directory: a copied or emptied volume is told by it."""
    cluster_id: str
    node: NodeId
    registration_epoch: RegistrationEpoch
    """The highest that the controller gave; a restored old image remembers a lower one."""


class CleanMark(NamedTuple):
    """Left by a clean stop, gone before the next start accepts anything."""

    next_sequence: int
    """Of the journal; every entry below is reflected in the files."""
    clock_floor: AppendTimeMs


def encode(identity: Identity) -> bytes:
    """Return the file's bytes."""
    name = identity.cluster_id.encode()
    head = _HEAD.pack(
        MAGIC, VERSION, 0,
        identity.directory, identity.node, identity.registration_epoch, len(name),
    )  # fmt: skip
    return seal(head + name)


def decode(file: bytes) -> Identity:
    """Return whom the file names.

    Raises:
        MalformedError: it is not what was written.
        DirectoryRefused: its format is newer than this program.
    """
    content = unseal(file, "identity", magic=MAGIC, version=VERSION)
    try:
        _, _, zero, directory, node, epoch, size = _HEAD.unpack_from(content)
        if zero:
            raise MalformedError("identity", 10, "reserved bytes")
        name = bytes(content[_HEAD.size :])
        if len(name) != size:
            raise MalformedError("identity", _HEAD.size, f"{len(name)} bytes of {size}")
        return Identity(directory, name.decode(), NodeId(node), RegistrationEpoch(epoch))
    except (struct.error, UnicodeDecodeError) as malformed:
        raise MalformedError("identity", 0, str(malformed)) from malformed


def encode_clean(mark: CleanMark) -> bytes:
    """Return the bytes of the clean mark."""
    return seal(_CLEAN.pack(CLEAN_MAGIC, VERSION, 0, 0, *mark))


def decode_clean(file: bytes) -> CleanMark:
    """Return what a clean stop left.

    Raises:
        MalformedError: it is not what was written: the stop was not clean.
        DirectoryRefused: its format is newer than this program.
    """
    content = unseal(file, "clean mark", magic=CLEAN_MAGIC, version=VERSION)
    if len(content) != _CLEAN.size:
        raise MalformedError("clean mark", 0, f"{len(content)} bytes")
    _, _, zeros, more, *mark = _CLEAN.unpack(content)
    if zeros or more:
        raise MalformedError("clean mark", 10, "reserved bytes")
    return CleanMark(*mark)
