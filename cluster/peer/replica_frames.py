"""The replica stream on the peer wire: bytes out, bytes in.

Format: docs/formats/peer_frames.md, replica. What `replica.py` calls a value is a value here; a
frame adds the partition that it is about, and the batches themselves, raw.

Who reads is given ends in their order (flushed, written, log end), a range of batches that does
not go backwards, and base offsets and append times that rise within it. Whether the batches are
whole and continue a log is for who appends them to see.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from cluster.peer.fields import BodyReader, partition_bytes
from cluster.peer.replica import (
    NO_EPOCH,
    Batches,
    Beat,
    BeatAnswer,
    Credit,
    Diverging,
    Leave,
    Open,
    Progress,
    Refused,
)
from cluster.peer.table import Family, Frame, FrameType, head, packed
from model.errors import ErrorCode
from model.ids import AppendTimeMs, LeaderEpoch, NodeId, Offset, PartitionId, RegistrationEpoch

Buffer: TypeAlias = bytes | bytearray | memoryview


class SentBatch(NamedTuple):
    """One batch of a frame: where it stands in the log, when it was appended, its bytes."""

    base_offset: Offset
    append_time: AppendTimeMs
    raw: Buffer
    """Read from a frame it lies in the connection's buffer: valid while the frame is handled."""


OfOne: TypeAlias = Open | Diverging | Refused | Progress | Leave
OfStream: TypeAlias = Credit | Beat | BeatAnswer


class OfPartition(NamedTuple):
    """A message and the partition that it is about; batches only beside `Batches`."""

    partition: PartitionId
    message: OfOne | Batches
    batches: tuple[SentBatch, ...] = ()


_OPEN: Final = Struct(">iqiiq")  # follower, registration, leader and last epoch, log end
_DIVERGING: Final = Struct(">iiiq")  # to, leader epoch, epoch, end offset
_REFUSED: Final = Struct(">iiB")  # to, leader epoch, why
_BATCHES: Final = Struct(">iiqqqqqI")  # to, epoch, start, end, watermark, log start, closed, rows
_ROW: Final = Struct(">qqI")  # base offset, append time, bytes
_PROGRESS: Final = Struct(">iqiqqq")  # follower, registration, epoch, log, written, flushed end
_LEAVE: Final = Struct(">ii")  # follower, leader epoch
_NUMBER: Final = Struct(">q")
_CODES: Final[Mapping[int, ErrorCode]] = {1: ErrorCode.FENCED_EPOCH, 2: ErrorCode.UNKNOWN_EPOCH}
_CODE_NUMBERS: Final = {code: number for number, code in _CODES.items()}
_STREAM: Final = {
    Credit: FrameType.CREDIT, Beat: FrameType.BEAT, BeatAnswer: FrameType.BEAT_ANSWER,
}  # fmt: skip


def encode(partition: PartitionId, message: OfOne) -> bytes:
    """Return the whole frame of a message about one partition."""
    where = partition_bytes(partition)
    if isinstance(message, Progress):  # the most frequent one
        return packed(FrameType.PROGRESS, where, _PROGRESS.pack(*message))
    if isinstance(message, Open):
        return packed(FrameType.OPEN, where, _OPEN.pack(*message))
    if isinstance(message, Diverging):
        return packed(FrameType.DIVERGING, where, _DIVERGING.pack(*message))
    if isinstance(message, Leave):
        return packed(FrameType.LEAVE, where, _LEAVE.pack(*message))
    to, epoch, code = message
    return packed(FrameType.REPLICA_REFUSED, where, _REFUSED.pack(to, epoch, _CODE_NUMBERS[code]))


def encode_batches(
    partition: PartitionId, message: Batches, batches: Sequence[SentBatch]
) -> list[Buffer]:
    """Return a frame in pieces: head and rows as one, then each batch as it is, not copied."""
    rows = [_ROW.pack(base, time, len(raw)) for base, time, raw in batches]
    front = b"".join((partition_bytes(partition), _BATCHES.pack(*message, len(batches)), *rows))
    size = len(front) + sum(len(batch.raw) for batch in batches)
    return [head(FrameType.BATCHES, size) + front, *(batch.raw for batch in batches)]


def encode_stream(message: OfStream) -> bytes:
    """Return the whole frame of a message about the whole stream."""
    return packed(_STREAM[type(message)], _NUMBER.pack(message[0]))


def decode(frame: Frame) -> OfPartition | OfStream:
    """Return what a frame of the stream says.

    Raises:
        MalformedError: not what was written.
    """
    assert frame.row.family is Family.REPLICA, "PEER_FRAME_FAMILY"
    reader = BodyReader(frame)
    said: OfPartition | OfStream
    if frame.type in _OF_STREAM:
        said = _read_stream(reader, frame.type)
    else:
        partition = reader.partition()
        if frame.type is FrameType.BATCHES:
            said = OfPartition(partition, *_read_batches(reader))
        else:
            said = OfPartition(partition, _READ[frame.type](reader))
    reader.finish()
    return said


_OF_STREAM: Final = frozenset(_STREAM.values())


def _read_stream(reader: BodyReader, kind: FrameType) -> OfStream:
    (number,) = reader.unpack(_NUMBER)
    reader.check(number >= 0, f"{number} is below 0", back=_NUMBER.size)
    if kind is FrameType.CREDIT:
        return Credit(number)
    time = AppendTimeMs(number)
    return Beat(time) if kind is FrameType.BEAT else BeatAnswer(time)


def _read_open(reader: BodyReader) -> Open:
    follower, registration, epoch, last_epoch, log_end = reader.unpack(_OPEN)
    sound = min(follower, registration, epoch, log_end) >= 0 and last_epoch >= NO_EPOCH
    reader.check(sound, "a node, epoch or offset below what there is", back=_OPEN.size)
    return Open(
        NodeId(follower),
        RegistrationEpoch(registration),
        LeaderEpoch(epoch),
        LeaderEpoch(last_epoch),
        Offset(log_end),
    )


def _read_diverging(reader: BodyReader) -> Diverging:
    to, leader_epoch, epoch, end = reader.unpack(_DIVERGING)
    sound = min(to, leader_epoch, end) >= 0 and NO_EPOCH <= epoch
    reader.check(sound, "a node, epoch or offset below what there is", back=_DIVERGING.size)
    return Diverging(NodeId(to), LeaderEpoch(leader_epoch), LeaderEpoch(epoch), Offset(end))


def _read_refused(reader: BodyReader) -> Refused:
    to, epoch, number = reader.unpack(_REFUSED)
    reader.check(min(to, epoch) >= 0, f"to node {to} of epoch {epoch}", back=_REFUSED.size)
    code = _CODES.get(number)
    if code is None:
        raise reader.wrong(f"a reason {number}", back=1)
    return Refused(NodeId(to), LeaderEpoch(epoch), code)


def _read_progress(reader: BodyReader) -> Progress:
    follower, registration, epoch, log_end, written, flushed = reader.unpack(_PROGRESS)
    if min(follower, registration, epoch) < 0:
        raise reader.wrong("a node or epoch below 0", back=_PROGRESS.size)
    if not 0 <= flushed <= written <= log_end:
        why = f"flushed to {flushed}, written to {written}, of {log_end}"
        raise reader.wrong(why, back=3 * _NUMBER.size)
    return Progress(
        NodeId(follower),
        RegistrationEpoch(registration),
        LeaderEpoch(epoch),
        Offset(log_end),
        Offset(written),
        Offset(flushed),
    )


def _read_leave(reader: BodyReader) -> Leave:
    follower, epoch = reader.unpack(_LEAVE)
    reader.check(min(follower, epoch) >= 0, "a node or epoch below 0", back=_LEAVE.size)
    return Leave(NodeId(follower), LeaderEpoch(epoch))


_READ: Final[Mapping[FrameType, Callable[[BodyReader], OfOne]]] = {
    FrameType.OPEN: _read_open,
    FrameType.DIVERGING: _read_diverging,
    FrameType.REPLICA_REFUSED: _read_refused,
    FrameType.PROGRESS: _read_progress,
    FrameType.LEAVE: _read_leave,
}


def _read_batches(reader: BodyReader) -> tuple[Batches, tuple[SentBatch, ...]]:
    to, epoch, start, end, watermark, log_start, closed, count = reader.unpack(_BATCHES)
    if min(to, epoch, start, watermark, log_start, closed) < 0:
        raise reader.wrong("a node, epoch, offset or time below 0", back=_BATCHES.size)
    if start > end:
        raise reader.wrong(f"batches from {start} to {end}", back=_BATCHES.size)
    rows = reader.fixed_rows(count, _ROW)
    check_rows(reader, rows, (start, end))
    body, at = reader.rest(), 0
    batches: list[SentBatch] = []
    for base, time, size in rows:
        batches.append(SentBatch(base, time, body[at : at + size]))
        at += size
    if at != len(body):
        raise reader.wrong(f"batches of {at} bytes in {len(body)}", back=len(body))
    return Batches(to, epoch, start, end, watermark, log_start, closed), tuple(batches)


def check_rows(reader: BodyReader, rows: Sequence[tuple[int, ...]], span: tuple[int, int]) -> None:
    """Refuse rows that are not the batches of [start, end): offsets rise, times never fall."""
    start, end = span
    back = len(rows) * _ROW.size
    if bool(rows) is not (start < end) or (rows and rows[0][0] != start):
        raise reader.wrong(f"{len(rows)} batches from {start} to {end}", back=back)
    before, at_least = -1, 0
    for base, time, _ in rows:
        if not before < base < end:
            raise reader.wrong(f"a batch at {base}, behind {before}, up to {end}", back=back)
        if time < at_least:
            raise reader.wrong(f"append time {time} behind {at_least}", back=back)
        before, at_least = base, time
