"""Every frame that nodes send each other, in one table: number, family, manner, bounds.

Format: docs/formats/peer_frames.md, protocol version 1. A frame is what `cluster.shell.wire` hands
over: its length is gone, six bytes of head and a body are left. The bodies are packed beside the
values that they carry; nobody but this module packs or reads a head.

Reading is refused with `MalformedError`, naming the frame, the byte and what is wrong there. Who
reads it says so to the other end (`cluster.peer.hello`, LINK_REFUSED) and ends the link: after one
frame that is not understood nothing behind it can be trusted.

Invariants:
    PEER_FRAME_FITS         nothing is packed that the other end refuses on its length.
    PEER_FRAME_CORRELATED   what is asked and answered has a number; what is just said has 0.
    PEER_FRAME_FAMILY       a frame is read by the codec of its own family.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum, unique
from struct import Struct
from types import MappingProxyType
from typing import Final, NamedTuple

from model.errors import MalformedError

FRAME_BYTES_MAX: Final = 32 << 20
"""Head and body. The limit of the connection, and of every frame whose row says no less."""
HEAD: Final = Struct(">BBI")  # type, flags, correlation
_SMALL: Final = 4 << 10
_ROWS: Final = 8 << 20
"""Of frames with a row per partition: 10,000 rows of 8 replicas take less than 4 MiB."""


class Versions(NamedTuple):
    """Protocol versions that a release can speak, both included."""

    least: int
    greatest: int


SPOKEN: Final = Versions(1, 1)
"""By this release."""


class Family(Enum):
    """Which codec reads a frame."""

    LINK = "link"
    PING = "ping"
    PART = "part"
    CALL = "call"
    RAFT = "raft"
    CONTROLLER = "controller"
    REPLICA = "replica"
    STATE = "state snapshot"
    REPAIR = "repair"


class Manner(Enum):
    """Whether a frame is answered."""

    SAYS = "says"
    ASKS = "asks"
    ANSWERS = "answers"


@unique
class FrameType(IntEnum):
    """The number that stands in a frame's first byte. None is ever given to another type."""

    HELLO = 1
    PROOF = 2
    LINK_REFUSED = 3
    PING = 4
    PONG = 5
    PART = 6
    CALL_REFUSED = 8
    FORWARD = 9
    FORWARDED = 10
    PRE_VOTE_REQUEST = 16
    PRE_VOTE_REPLY = 17
    VOTE_REQUEST = 18
    VOTE_REPLY = 19
    APPEND_REQUEST = 20
    APPEND_REPLY = 21
    APPEND_REFUSAL = 22
    RAFT_HEARTBEAT = 23
    RAFT_HEARTBEAT_REPLY = 24
    RAFT_SNAPSHOT_CHUNK = 25
    RAFT_SNAPSHOT_REPLY = 26
    TIMEOUT_NOW = 27
    READ_REQUEST = 28
    READ_REPLY = 29
    NEWER_TERM = 30
    ASK_SEED = 48
    SEED_ANSWER = 49
    REGISTER = 50
    REGISTERED = 51
    BROKER_HEARTBEAT = 52
    HEARD = 53
    ALTER_ISR = 54
    ANSWER_FOR_UNCLEAN = 55
    ISR_ANSWERS = 56
    TELL_RECOVERED = 57
    SET_STANDING = 58
    COUNTED = 59
    ALLOCATE_PRODUCER_IDS = 60
    PRODUCER_IDS = 61
    TOPIC_REMOVED = 62
    DONE = 63
    CREATE_TOPIC = 64
    DELETE_TOPIC = 65
    ADD_PARTITIONS = 66
    ALTER_TOPIC_CONFIG = 67
    ALTER_GROUP_CONFIG = 68
    ELECT_PREFERRED = 69
    ELECT_UNCLEAN = 70
    # 71 begins an HTTP request that has lost its way: no frame has it.
    REMOVE_BROKER = 72
    RAISE_FEATURE_LEVEL = 73
    CHANGE_VOTERS = 74
    HAND_OVER = 75
    PROPOSED = 76
    TRANSFER_LEADER = 77
    OPEN = 80
    DIVERGING = 81
    REPLICA_REFUSED = 82
    BATCHES = 83
    PROGRESS = 84
    LEAVE = 85
    CREDIT = 86
    BEAT = 87
    BEAT_ANSWER = 88
    ASK_STATE = 96
    STATE_PART = 97
    ASK_BATCHES = 98
    BATCHES_PART = 99


class Row(NamedTuple):
    """What holds for a type; bounds are of the body, in bytes."""

    family: Family
    manner: Manner
    least: int
    most: int
    since: int = 1
    """The first protocol version that has it, in this layout."""


class Frame(NamedTuple):
    """A frame whose head is sound."""

    type: FrameType
    correlation: int
    """Chosen by who asks, per link; an answer repeats it. 0: nothing is asked."""
    body: memoryview
    """Lies in the connection's buffer: valid only while the frame is handled."""

    @property
    def row(self) -> Row:
        """What holds for its type."""
        return TABLE[self.type]


_BODY_MAX: Final = FRAME_BYTES_MAX - HEAD.size
_RAFT_HEAD: Final = 48


def _raft(more: int, *, most: int = 0) -> Row:
    """Return the row of a message of the quorum: `more` bytes behind what all of them begin with.

    `most`: 0 where there is nothing else.
    """
    least = _RAFT_HEAD + more
    return Row(Family.RAFT, Manner.SAYS, least, most or least)


def _asks(least: int, most: int = 0) -> Row:
    return Row(Family.CONTROLLER, Manner.ASKS, least, most or least)


def _answers(least: int, most: int = 0) -> Row:
    return Row(Family.CONTROLLER, Manner.ANSWERS, least, most or least)


def _replica(least: int, *, most: int = 0) -> Row:
    return Row(Family.REPLICA, Manner.SAYS, least, most or least)


TABLE: Final[Mapping[FrameType, Row]] = MappingProxyType(
    {
        FrameType.HELLO: Row(Family.LINK, Manner.SAYS, 87, 512),
        FrameType.PROOF: Row(Family.LINK, Manner.SAYS, 32, 32),
        FrameType.LINK_REFUSED: Row(Family.LINK, Manner.SAYS, 3, 1027),
        FrameType.PING: Row(Family.PING, Manner.ASKS, 0, 0),
        FrameType.PONG: Row(Family.PING, Manner.ANSWERS, 0, 0),
        FrameType.PART: Row(Family.PART, Manner.SAYS, 5, 4 + (256 << 10)),
        FrameType.CALL_REFUSED: Row(Family.CALL, Manner.ANSWERS, 13, 256 << 10),
        FrameType.FORWARD: Row(Family.CALL, Manner.ASKS, 12, _BODY_MAX),
        FrameType.FORWARDED: Row(Family.CALL, Manner.ANSWERS, 0, _BODY_MAX),
        FrameType.PRE_VOTE_REQUEST: _raft(16),
        FrameType.PRE_VOTE_REPLY: _raft(1),
        FrameType.VOTE_REQUEST: _raft(17),
        FrameType.VOTE_REPLY: _raft(1),
        FrameType.APPEND_REQUEST: _raft(40, most=_BODY_MAX),
        FrameType.APPEND_REPLY: _raft(8),
        FrameType.APPEND_REFUSAL: _raft(32),
        FrameType.RAFT_HEARTBEAT: _raft(16),
        FrameType.RAFT_HEARTBEAT_REPLY: _raft(8),
        FrameType.RAFT_SNAPSHOT_CHUNK: _raft(32, most=_BODY_MAX),
        FrameType.RAFT_SNAPSHOT_REPLY: _raft(16),
        FrameType.TIMEOUT_NOW: _raft(0),
        FrameType.READ_REQUEST: _raft(8),
        FrameType.READ_REPLY: _raft(16),
        FrameType.NEWER_TERM: _raft(0),
        FrameType.ASK_SEED: _asks(0),
        FrameType.SEED_ANSWER: _answers(27, _SMALL),
        FrameType.REGISTER: _asks(57, 64 << 10),
        FrameType.REGISTERED: _answers(64, 64 << 10),
        FrameType.BROKER_HEARTBEAT: _asks(28),
        FrameType.HEARD: _answers(1),
        FrameType.ALTER_ISR: _asks(16, _ROWS),
        FrameType.ANSWER_FOR_UNCLEAN: _asks(16, _ROWS),
        FrameType.ISR_ANSWERS: _answers(4, _ROWS),
        FrameType.TELL_RECOVERED: _asks(16, _ROWS),
        FrameType.SET_STANDING: _asks(5, _ROWS),
        FrameType.COUNTED: _answers(8),
        FrameType.ALLOCATE_PRODUCER_IDS: _asks(4),
        FrameType.PRODUCER_IDS: _answers(16),
        FrameType.TOPIC_REMOVED: _asks(20),
        FrameType.DONE: _answers(0),
        FrameType.CREATE_TOPIC: _asks(12, _ROWS),
        FrameType.DELETE_TOPIC: _asks(3, 64 << 10),
        FrameType.ADD_PARTITIONS: _asks(7, 64 << 10),
        FrameType.ALTER_TOPIC_CONFIG: _asks(12, _ROWS),
        FrameType.ALTER_GROUP_CONFIG: _asks(12, _ROWS),
        FrameType.ELECT_PREFERRED: _asks(0),
        FrameType.ELECT_UNCLEAN: _asks(11, 64 << 10),
        FrameType.TRANSFER_LEADER: _asks(11, 64 << 10),
        FrameType.REMOVE_BROKER: _asks(4),
        FrameType.RAISE_FEATURE_LEVEL: _asks(5),
        FrameType.CHANGE_VOTERS: _asks(4, _SMALL),
        FrameType.HAND_OVER: _asks(4),
        FrameType.PROPOSED: _answers(9, _BODY_MAX),
        FrameType.OPEN: _replica(48),
        FrameType.DIVERGING: _replica(40),
        FrameType.REPLICA_REFUSED: _replica(29),
        FrameType.BATCHES: _replica(72, most=_BODY_MAX),
        FrameType.PROGRESS: _replica(60),
        FrameType.LEAVE: _replica(28),
        FrameType.CREDIT: _replica(8),
        FrameType.BEAT: _replica(8),
        FrameType.BEAT_ANSWER: _replica(8),
        FrameType.ASK_STATE: Row(Family.STATE, Manner.ASKS, 40, 40),
        FrameType.STATE_PART: Row(Family.STATE, Manner.ANSWERS, 44, _BODY_MAX),
        FrameType.ASK_BATCHES: Row(Family.REPAIR, Manner.ASKS, 40, 40),
        FrameType.BATCHES_PART: Row(Family.REPAIR, Manner.ANSWERS, 60, _BODY_MAX),
    }
)


class UnknownFrameError(MalformedError):
    """A type that the version spoken on this link does not have."""


def head(number: FrameType, body_bytes: int, *, correlation: int = 0) -> bytes:
    """Return a frame's six bytes of head, for a body of that many bytes."""
    row = TABLE[number]
    assert row.least <= body_bytes <= row.most, "PEER_FRAME_FITS"
    assert (correlation == 0) is (row.manner is Manner.SAYS), "PEER_FRAME_CORRELATED"
    return HEAD.pack(number, 0, correlation)


def packed(number: FrameType, *parts: bytes, correlation: int = 0) -> bytes:
    """Return a whole frame."""
    body = b"".join(parts)
    return head(number, len(body), correlation=correlation) + body


def parse(frame: bytes | memoryview, *, version: int) -> Frame:
    """Return a frame whose head is sound, on a link that speaks that protocol version.

    Raises:
        UnknownFrameError: no type of that version.
        MalformedError: cut short, unknown flags, a body that is too short or too long for its
            type, or a correlation where there is none, or none where there is one.
    """
    size = len(frame)
    if not HEAD.size <= size <= FRAME_BYTES_MAX:
        raise MalformedError("peer frame", 0, f"{size} bytes, not {HEAD.size} to {FRAME_BYTES_MAX}")
    number, flags, correlation = HEAD.unpack_from(frame)
    row = TABLE.get(number)
    if row is None or row.since > version:
        why = f"type {number} is none of protocol version {version}"
        raise UnknownFrameError("peer frame", 0, why)
    kind = FrameType(number)
    if flags:
        raise MalformedError(kind.name, 1, f"flags {flags:#04x} are none of version {version}")
    if (correlation == 0) is not (row.manner is Manner.SAYS):
        raise MalformedError(kind.name, 2, f"correlation {correlation} of what {row.manner.value}")
    body_bytes = size - HEAD.size
    if not row.least <= body_bytes <= row.most:
        why = f"a body of {body_bytes} bytes, not {row.least} to {row.most}"
        raise MalformedError(kind.name, HEAD.size, why)
    return Frame(kind, correlation, memoryview(frame)[HEAD.size :])
