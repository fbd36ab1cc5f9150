"""Group records: keys and values of an internal topic's records, out and in.

Format: docs/formats/group_records.md. The key says which thing a record is about, the value what
holds from there on. Each begins with its version; a version, a kind or a choice that this program
does not know was written by a newer one and is refused: a group that is not understood is never
taken for absent.

Invariant:
    COMMIT_IS_READABLE  what would be refused at a start is never written.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeVar

from consumer_groups.fields import (
    ID_BYTES,
    FieldReader,
    holds,
    optional_string,
    partitions,
    string,
    strings,
)
from consumer_groups.records import (
    AssignmentChanged,
    Cause,
    GroupChanged,
    GroupDeleted,
    GroupEpoch,
    GroupKind,
    GroupRecord,
    LeaveReason,
    MemberId,
    MemberJoined,
    MemberLeft,
    MemberResumed,
    OffsetCommitted,
    OffsetsForgotten,
    StreamNumber,
)
from consumer_groups.settings import AssignorName
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import (
    AppendTimeMs,
    GroupId,
    LeaderEpoch,
    Offset,
    PartitionId,
    TopicId,
    TopicName,
)

EnumT = TypeVar("EnumT", bound=IntEnum)

VERSION: Final = 1
_HEAD: Final = struct.Struct(">BB")  # version, kind
_BYTE: Final = struct.Struct(">B")
_EPOCH: Final = struct.Struct(">i")
_EPOCHS: Final = struct.Struct(">ii")  # of the change, fenced below
_GROUP: Final = struct.Struct(">iBq")  # epoch, kind, ms
_JOINED: Final = struct.Struct(">iqIII")  # epoch, stream, three timeouts in ms
_STREAM: Final = struct.Struct(">q")
_NUMBER: Final = struct.Struct(">i")
_OFFSET: Final = struct.Struct(">qiqB")  # offset, leader epoch, ms, cause
_NO_EPOCH: Final = -1


class Encoded(NamedTuple):
    """One record of the internal topic."""

    key: bytes
    value: bytes


def encode(record: GroupRecord) -> Encoded:
    """Return a record's key and value."""
    kind, key_of, value_of = _ENCODE[type(record)]
    key = _HEAD.pack(VERSION, kind) + string(record.group) + key_of(record)
    return Encoded(key, _BYTE.pack(VERSION) + value_of(record))


def decode(key: bytes | None, value: bytes | None) -> GroupRecord:
    """Return the record of a key and a value.

    Raises:
        MalformedError: not what was written.
        DirectoryRefused: exit 13, a version, kind or choice that only a newer program writes.
    """
    if key is None or value is None:
        raise MalformedError("group record", 0, "without key or value")
    keys, values = (
        FieldReader("group record's key", key),
        FieldReader("group record's value", value),
    )
    version, kind = keys.unpack(_HEAD)
    (value_version,) = values.unpack(_BYTE)
    if (version, value_version) != (VERSION, VERSION) or kind not in _DECODE:
        raise _newer(f"of kind {kind} version {version}.{value_version}")
    record = _DECODE[kind](GroupId(keys.string()), keys, values)
    keys.finish()
    values.finish()
    return record


# Keys, behind the group's name.


def _no_more(_: GroupChanged | OffsetsForgotten | GroupDeleted) -> bytes:
    return b""


def _member_key(
    record: MemberJoined | MemberResumed | MemberLeft | AssignmentChanged,
) -> bytes:
    return string(record.member_id)


def _offset_key(record: OffsetCommitted) -> bytes:
    return record.partition.topic + _NUMBER.pack(record.partition.number)


# Values, behind the version.


def _changed(record: GroupChanged) -> bytes:
    return _GROUP.pack(record.epoch, record.kind, record.state_since) + string(record.assignor)


def _joined(record: MemberJoined) -> bytes:
    fixed = _JOINED.pack(
        record.epoch,
        record.stream,
        record.session_timeout_ms,
        record.rebalance_timeout_ms,
        record.resume_timeout_ms,
    )
    return b"".join(
        (
            fixed,
            optional_string(record.instance_id),
            string(record.client_id),
            string(record.host),
            optional_string(record.replaced),
            strings(record.topics),
        )
    )


def _resumed(record: MemberResumed) -> bytes:
    return _STREAM.pack(record.stream)


def _left(record: MemberLeft) -> bytes:
    return _BYTE.pack(record.reason)


def _assigned(record: AssignmentChanged) -> bytes:
    return b"".join(
        (
            _EPOCHS.pack(record.epoch, record.fenced_below),
            holds(record.owned),
            holds(record.revoking),
            partitions(record.target),
        )
    )


def _committed(record: OffsetCommitted) -> bytes:
    told = 0 if record.leader_epoch is None else record.leader_epoch
    assert min(record.partition.number, record.offset, told) >= 0, "COMMIT_IS_READABLE"
    epoch = _NO_EPOCH if record.leader_epoch is None else record.leader_epoch
    fixed = _OFFSET.pack(record.offset, epoch, record.committed_at, record.cause)
    return fixed + string(record.metadata) + string(record.actor)


def _forgotten(record: OffsetsForgotten) -> bytes:
    return partitions(record.partitions)


def _nothing(_: GroupDeleted) -> bytes:
    return b""


# Records from the rest of their key and of their value.


def _read_changed(group: GroupId, _: FieldReader, values: FieldReader) -> GroupChanged:
    epoch, kind, since = values.unpack(_GROUP)
    return GroupChanged(
        group=group,
        epoch=_epoch(values, epoch),
        kind=_member_of(GroupKind, kind),
        state_since=AppendTimeMs(since),
        assignor=_assignor(values.string()),
    )


def _read_joined(group: GroupId, keys: FieldReader, values: FieldReader) -> MemberJoined:
    epoch, stream, session, rebalance, resume = values.unpack(_JOINED)
    instance_id, client_id, host = values.optional_string(), values.string(), values.string()
    replaced = values.optional_string()
    return MemberJoined(
        group=group,
        member_id=MemberId(keys.string()),
        epoch=_epoch(values, epoch),
        stream=StreamNumber(stream),
        instance_id=instance_id,
        client_id=client_id,
        host=host,
        topics=tuple(map(TopicName, values.strings())),
        session_timeout_ms=session,
        rebalance_timeout_ms=rebalance,
        resume_timeout_ms=resume,
        replaced=None if replaced is None else MemberId(replaced),
    )


def _read_resumed(group: GroupId, keys: FieldReader, values: FieldReader) -> MemberResumed:
    (stream,) = values.unpack(_STREAM)
    member_id = MemberId(keys.string())
    return MemberResumed(group=group, member_id=member_id, stream=StreamNumber(stream))


def _read_left(group: GroupId, keys: FieldReader, values: FieldReader) -> MemberLeft:
    (reason,) = values.unpack(_BYTE)
    return MemberLeft(
        group=group,
        member_id=MemberId(keys.string()),
        reason=_member_of(LeaveReason, reason),
    )


def _read_assigned(group: GroupId, keys: FieldReader, values: FieldReader) -> AssignmentChanged:
    epoch, fenced_below = values.unpack(_EPOCHS)
    return AssignmentChanged(
        group=group,
        member_id=MemberId(keys.string()),
        epoch=_epoch(values, epoch),
        fenced_below=_epoch(values, fenced_below),
        owned=values.holds(),
        revoking=values.holds(),
        target=values.partitions(),
    )


def _read_committed(group: GroupId, keys: FieldReader, values: FieldReader) -> OffsetCommitted:
    topic = TopicId(keys.fixed(ID_BYTES))
    (number,) = keys.unpack(_NUMBER)
    offset, epoch, committed_at, cause = values.unpack(_OFFSET)
    if number < 0 or offset < 0 or epoch < _NO_EPOCH:
        raise values.refuse(f"offset {offset} of partition {number} in leader epoch {epoch}")
    return OffsetCommitted(
        group=group,
        partition=PartitionId(topic, number),
        offset=Offset(offset),
        leader_epoch=None if epoch == _NO_EPOCH else LeaderEpoch(epoch),
        metadata=values.string(),
        committed_at=AppendTimeMs(committed_at),
        actor=values.string(),
        cause=_member_of(Cause, cause),
    )


def _read_forgotten(group: GroupId, _: FieldReader, values: FieldReader) -> OffsetsForgotten:
    return OffsetsForgotten(group=group, partitions=values.partitions())


def _read_deleted(group: GroupId, _: FieldReader, __: FieldReader) -> GroupDeleted:
    return GroupDeleted(group=group)


def _epoch(values: FieldReader, number: int) -> GroupEpoch:
    if number < 0:
        raise values.refuse(f"epoch {number}")
    return GroupEpoch(number)


def _member_of(kind: type[EnumT], number: int) -> EnumT:
    """Return what a number stands for; bytes are checked before: another one is of a newer program.

    Raises:
        DirectoryRefused: exit 13.
    """
    try:
        return kind(number)
    except ValueError as wrong:
        raise _newer(f"with {kind.__name__} {number}") from wrong


def _assignor(name: str) -> str:
    try:
        return AssignorName(name).value
    except ValueError as wrong:
        raise _newer(f'with assignor "{name}"') from wrong


def _newer(what: str) -> DirectoryRefused:
    detail = f"a group record {what} was written by a newer release; start that one"
    return DirectoryRefused(DirectoryExit.NEWER_FORMAT, detail)


# A function takes exactly the record type that it stands beside.
_ENCODE: Final[dict[type, tuple[int, Callable[[Any], bytes], Callable[[Any], bytes]]]] = {
    GroupChanged: (1, _no_more, _changed),
    MemberJoined: (2, _member_key, _joined),
    MemberResumed: (3, _member_key, _resumed),
    MemberLeft: (4, _member_key, _left),
    AssignmentChanged: (5, _member_key, _assigned),
    OffsetCommitted: (6, _offset_key, _committed),
    OffsetsForgotten: (7, _no_more, _forgotten),
    GroupDeleted: (8, _no_more, _nothing),
}
_DECODE: Final[dict[int, Callable[[GroupId, FieldReader, FieldReader], GroupRecord]]] = {
    1: _read_changed,
    2: _read_joined,
    3: _read_resumed,
    4: _read_left,
    5: _read_assigned,
    6: _read_committed,
    7: _read_forgotten,
    8: _read_deleted,
}
