"""How a link begins: who is there, which version is spoken, and the proof that each knows a secret.

Format: docs/formats/peer_frames.md, link. The proof is a keyed hash (HMAC-SHA-256, RFC 2104) over
both hellos as they were sent: whatever is claimed there is proven with it, and each side's fresh
nonce makes an old recording worthless. `handshake.py` says in which order.
"""

import hmac
from enum import Enum, IntEnum, unique
from struct import Struct
from typing import Final, NamedTuple

from cluster.peer.fields import BodyReader, cut_string, string
from cluster.peer.table import SPOKEN, Family, Frame, FrameType, Versions, packed
from model.ids import NodeId

MAGIC: Final = b"TLPEERLK"
NONCE_BYTES: Final = 32
PROOF_BYTES: Final = 32
CLUSTER_ID_BYTES_MAX: Final = 256
"""64 characters, as the controller bounds them, of four bytes each."""
DETAIL_BYTES_MAX: Final = 1 << 10
_HELLO: Final = Struct(">8sHHi16s16s32sHH")
_LENGTH: Final = Struct(">I")
_REASON: Final = Struct(">B")
_DOMAIN: Final = b"tidelog peer link 1"


class Hello(NamedTuple):
    """What a process says of itself when a link begins."""

    node: NodeId
    directory: bytes
    """The 16 bytes of its log directory's uuid."""
    incarnation: bytes
    """16 random bytes, the same for as long as the process lives."""
    nonce: bytes
    """32 random bytes, fresh for this link."""
    cluster_id: str
    """That it is configured with."""
    least_level: int = 1
    greatest_level: int = 1
    """Feature levels that its release can work at, both included; whether that will do is decided
    when it registers."""
    versions: Versions = SPOKEN


class Side(Enum):
    """Which end of a link somebody is; part of what is proven, so that no proof is given back."""

    DIALS = b"\1"
    LISTENS = b"\2"


@unique
class Reason(IntEnum):
    """Why a link ends; the number stands in the frame."""

    MALFORMED = 1
    """What was sent is no frame: no node of this release, or damage on the way."""
    UNKNOWN_FRAME = 2
    """A frame that the version of this link does not have, or not at this time."""
    VERSION = 3
    """No protocol version that both speak."""
    CLUSTER = 4
    """Of another cluster."""
    IDENTITY = 5
    """Not the node that was called."""
    PROOF = 6
    """The other end does not know the cluster's secret."""


class LinkRefused(Exception):  # noqa: N818 - ends a link, never a request
    """A link ends: said to the other end, or said by it."""

    def __init__(self, reason: Reason, detail: str, *, by_peer: bool = False) -> None:
        """Say why, naming what to do. `by_peer`: the other end refuses, and is not answered."""
        super().__init__(f"{reason.name}: {detail}")
        self.reason = reason
        self.detail = detail
        self.by_peer = by_peer


def encode_hello(hello: Hello) -> bytes:
    """Return the whole frame."""
    fixed = _HELLO.pack(
        MAGIC,
        *hello.versions,
        hello.node,
        hello.directory,
        hello.incarnation,
        hello.nonce,
        hello.least_level,
        hello.greatest_level,
    )
    return packed(FrameType.HELLO, fixed, string(hello.cluster_id))


def encode_proof(proof: bytes) -> bytes:
    """Return the whole frame."""
    return packed(FrameType.PROOF, proof)


def encode_refused(refused: LinkRefused) -> bytes:
    """Return the whole frame; a text that is too long for one is cut."""
    detail = cut_string(refused.detail, DETAIL_BYTES_MAX)
    return packed(FrameType.LINK_REFUSED, _REASON.pack(refused.reason), detail)


def decode(frame: Frame) -> Hello | bytes | LinkRefused:
    """Return what a frame says: a hello, 32 bytes of proof, or why the other end refuses.

    Raises:
        MalformedError: not what was written.
    """
    assert frame.row.family is Family.LINK, "PEER_FRAME_FAMILY"
    reader = BodyReader(frame)
    said: Hello | bytes | LinkRefused
    if frame.type is FrameType.HELLO:
        said = _read_hello(reader)
    elif frame.type is FrameType.PROOF:
        said = bytes(reader.rest())
    else:
        (number,) = reader.unpack(_REASON)
        known = number in Reason.__members__.values()
        reader.check(known, f"a reason {number}", back=_REASON.size)
        detail = reader.string(bytes_max=DETAIL_BYTES_MAX)
        said = LinkRefused(Reason(number), detail, by_peer=True)
    reader.finish()
    return said


def _read_hello(reader: BodyReader) -> Hello:
    magic, least, greatest, node, directory, incarnation, nonce, *levels = reader.unpack(_HELLO)
    reader.check(magic == MAGIC, "another magic", back=_HELLO.size)
    reader.check(0 < least <= greatest, f"versions {least} to {greatest}", back=_HELLO.size - 8)
    reader.check(node >= 0, f"node {node}", back=_HELLO.size - 12)
    reader.check(0 < levels[0] <= levels[1], f"feature levels {levels}", back=4)
    cluster_id = reader.string(bytes_max=CLUSTER_ID_BYTES_MAX)
    reader.check(cluster_id != "", "an empty cluster id")
    if greatest > SPOKEN.greatest:
        reader.rest()  # what a later release has to say beside this; proven like the rest of it
    return Hello(
        NodeId(node),
        directory,
        incarnation,
        nonce,
        cluster_id,
        least_level=levels[0],
        greatest_level=levels[1],
        versions=Versions(least, greatest),
    )


def proof_of(secret: bytes, side: Side, *, dialler: bytes, listener: bytes) -> bytes:
    """Return what one side proves itself with; the hellos are whole frames, as they were sent."""
    hellos = (_LENGTH.pack(len(dialler)), dialler, _LENGTH.pack(len(listener)), listener)
    return hmac.digest(secret, b"".join((_DOMAIN, side.value, *hellos)), "sha256")


def is_proof(claimed: bytes, expected: bytes) -> bool:
    """Compare in a time that does not tell how far two proofs are alike."""
    return hmac.compare_digest(claimed, expected)
