"""Any bytes as the key and value of a group record."""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from consumer_groups.codec import decode, encode
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
    Owned,
    StreamNumber,
)
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

READS: Final = 3
"""Read, written again, and its order looked at."""
MANY: Final = 4_000
_HEAD: Final = struct.Struct(">hB")  # bytes of the key, below zero: none; 0: no value
_GROUP: Final = GroupId("bücher")
_MEMBER: Final = MemberId("app-0123456789abcdef")
_NOW: Final = AppendTimeMs(1_700_000_000_000)
_ONE, _TWO = TopicId(bytes(range(16))), TopicId(bytes(range(16, 32)))
_ROWS: Final = (PartitionId(_ONE, 0), PartitionId(_ONE, 7), PartitionId(_TWO, 1))


def samples() -> list[bytes]:
    """Return each kind of record, with and without what may be absent; no key, no value."""
    key, value = encode(GroupDeleted(group=_GROUP))
    whole = [_packed(*encode(record)) for record in (*_of_the_group(), *_of_members(), *_offsets())]
    return [*whole, _packed(None, value), _packed(key, None), _packed(None, None)]


def large_samples() -> list[bytes]:
    """Return a member of many topics; and many partitions assigned, and forgotten."""
    rows = tuple(PartitionId(topic, number) for topic in (_ONE, _TWO) for number in range(MANY))
    names = tuple(TopicName(f"orders-{number:05}") for number in range(MANY))
    return [
        _packed(*encode(record))
        for record in (_assigned(rows), _joined(topics=names), _forgotten(rows))
    ]


def fuzz(data: bytes) -> None:
    """Read the record; what was read is what is written, as the same bytes."""
    size, has_value = _HEAD.unpack(data[: _HEAD.size].ljust(_HEAD.size, b"\0"))
    rest = data[_HEAD.size :]
    key = None if size < 0 else rest[:size]
    value = rest[max(size, 0) :] if has_value else None
    try:
        record = decode(key, value)
    except MalformedError:
        return
    except DirectoryRefused as refused:
        assert refused.exit_code is DirectoryExit.NEWER_FORMAT, "not what is said of a newer record"
        return
    assert encode(record) == (key, value), "not the bytes that were read"
    assert all(map(_rises, _lists_of(record))), "read out of order, or twice"


def _lists_of(record: GroupRecord) -> Iterator[Sequence[PartitionId | TopicName]]:
    """Yield the lists of a record that rise, as docs/formats/group_records.md says."""
    match record:
        case MemberJoined():
            yield record.topics
        case AssignmentChanged():
            yield [hold.partition for hold in record.owned]
            yield [hold.partition for hold in record.revoking]
            yield record.target
        case OffsetsForgotten():
            yield record.partitions
        case _:
            return


def _rises(rows: Sequence[PartitionId | TopicName]) -> bool:
    return list(rows) == sorted(set(rows))


def _packed(key: bytes | None, value: bytes | None) -> bytes:
    head = _HEAD.pack(-1 if key is None else len(key), value is not None)
    return head + (key or b"") + (value or b"")


def _of_the_group() -> Iterator[GroupRecord]:
    for kind, epoch in ((GroupKind.UNSET, 0), (GroupKind.NATIVE, 5)):
        yield GroupChanged(
            group=_GROUP, epoch=GroupEpoch(epoch), kind=kind, state_since=_NOW, assignor="uniform"
        )
    yield GroupDeleted(group=_GROUP)


def _of_members() -> Iterator[GroupRecord]:
    yield _joined(topics=(TopicName("orders-1"), TopicName("orders-3")))
    yield _joined(topics=(), instance_id="till", replaced=MemberId("app-0"))
    yield MemberResumed(group=_GROUP, member_id=_MEMBER, stream=StreamNumber((1 << 63) - 1))
    for reason in LeaveReason:
        yield MemberLeft(group=_GROUP, member_id=_MEMBER, reason=reason)
    yield _assigned(())
    yield _assigned(_ROWS)


def _offsets() -> Iterator[GroupRecord]:
    epochs = (None, LeaderEpoch(0))
    for epoch, metadata, cause in zip(epochs, ("", "note"), Cause, strict=True):
        yield OffsetCommitted(
            group=_GROUP, partition=_ROWS[1], offset=Offset(1 << 40), leader_epoch=epoch,
            metadata=metadata, committed_at=_NOW, actor=_MEMBER, cause=cause,
        )  # fmt: skip
    yield _forgotten(())
    yield _forgotten(_ROWS)


def _joined(
    *,
    topics: tuple[TopicName, ...],
    instance_id: str | None = None,
    replaced: MemberId | None = None,
) -> MemberJoined:
    return MemberJoined(
        group=_GROUP, member_id=_MEMBER, epoch=GroupEpoch(5), stream=StreamNumber(2),
        instance_id=instance_id, client_id="app", host="10.0.0.7", topics=topics,
        session_timeout_ms=8_000, rebalance_timeout_ms=60_000, resume_timeout_ms=0,
        replaced=replaced,
    )  # fmt: skip


def _assigned(rows: tuple[PartitionId, ...]) -> AssignmentChanged:
    half = len(rows) // 2
    holds = tuple(Owned(row, GroupEpoch(3)) for row in rows)
    return AssignmentChanged(
        group=_GROUP, member_id=_MEMBER, epoch=GroupEpoch(5), fenced_below=GroupEpoch(2),
        owned=holds[half:], revoking=holds[:half], target=rows,
    )  # fmt: skip


def _forgotten(rows: tuple[PartitionId, ...]) -> OffsetsForgotten:
    return OffsetsForgotten(group=_GROUP, partitions=rows)
