"""Group records, byte for byte, and what is refused."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consumer_groups.codec import Encoded, decode, encode
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
from model.errors import DirectoryRefused, MalformedError
from model.ids import (
    AppendTimeMs,
    GroupId,
    LeaderEpoch,
    Offset,
    PartitionId,
    TopicId,
    TopicName,
)
from tests.datadriven import Command, run_script

GROUP = GroupId("bücher")
MEMBER = MemberId("app-0123456789abcdef")
ONE, TWO = TopicId(bytes(range(16))), TopicId(bytes(range(16, 32)))
NOW = AppendTimeMs(1_700_000_000_000)
ROWS = (PartitionId(ONE, 0), PartitionId(ONE, 7), PartitionId(TWO, 1))
HOLDS = tuple(Owned(row, GroupEpoch(since)) for row, since in zip(ROWS, (3, 5, 4), strict=True))
EACH: tuple[GroupRecord, ...] = (
    GroupChanged(
        group=GROUP,
        epoch=GroupEpoch(5),
        kind=GroupKind.NATIVE,
        state_since=NOW,
        assignor="uniform",
    ),
    MemberJoined(
        group=GROUP,
        member_id=MEMBER,
        epoch=GroupEpoch(5),
        stream=StreamNumber((1 << 63) - 1),
        instance_id="till",
        client_id="app",
        host="10.0.0.7",
        topics=(TopicName("bills"), TopicName("orders")),
        session_timeout_ms=8_000,
        rebalance_timeout_ms=60_000,
        resume_timeout_ms=0,
        replaced=MemberId("app-0"),
    ),
    MemberResumed(group=GROUP, member_id=MEMBER, stream=StreamNumber(2)),
    MemberLeft(group=GROUP, member_id=MEMBER, reason=LeaveReason.RESUME_ENDED),
    AssignmentChanged(
        group=GROUP,
        member_id=MEMBER,
        epoch=GroupEpoch(5),
        fenced_below=GroupEpoch(2),
        owned=HOLDS[:2],
        revoking=HOLDS[2:],
        target=ROWS,
    ),
    OffsetCommitted(
        group=GROUP,
        partition=ROWS[1],
        offset=Offset(1 << 40),
        leader_epoch=LeaderEpoch(0),
        metadata="note",
        committed_at=NOW,
        actor=MEMBER,
        cause=Cause.COMMIT,
    ),
    OffsetCommitted(
        group=GROUP,
        partition=ROWS[2],
        offset=Offset(0),
        leader_epoch=None,
        metadata="",
        committed_at=NOW,
        actor="",
        cause=Cause.SEEK,
    ),
    OffsetsForgotten(group=GROUP, partitions=ROWS),
    GroupDeleted(group=GROUP),
)


def execute(command: Command) -> str:
    """Run `encode record=N`: key and value, 32 bytes a line; or `decode` with two lines of hex."""
    if command.name == "encode":
        record = EACH[command.integer("record") - 1]
        key, value = encode(record)
        lines = [repr(record), "key", *hex_lines(key), "value", *hex_lines(value)]
        return "\n".join(lines)
    key, value = (bytes.fromhex(line) for line in command.lines)
    try:
        return repr(decode(key, value))
    except (MalformedError, DirectoryRefused) as refused:
        return f"{type(refused).__name__}: {refused}"


def hex_lines(encoded: bytes) -> list[str]:
    text = encoded.hex()
    return [text[at : at + 64] for at in range(0, len(text), 64)]


def test_script(scripts: Path, rewrite: bool) -> None:
    run_script(scripts / "consumer_groups/records.txt", execute, rewrite=rewrite)


def test_what_is_written_is_read() -> None:
    assert tuple(decode(*encode(record)) for record in EACH) == EACH
    assert {type(record) for record in EACH} == set(GroupRecord.__args__)


def test_what_is_said_of_one_thing_has_one_key() -> None:
    """Keys tell things apart, so that a log could be compacted by them."""
    keys = [encode(record).key for record in EACH]
    assert len(set(keys)) == len(keys)
    later = OffsetCommitted(
        group=GROUP,
        partition=ROWS[1],
        offset=Offset(9),
        leader_epoch=None,
        metadata="other",
        committed_at=AppendTimeMs(NOW + 10),
        actor="anna",
        cause=Cause.SEEK,
    )
    assert encode(later).key == encode(EACH[5]).key


@pytest.mark.parametrize("record", EACH, ids=lambda record: type(record).__name__)
def test_whatever_bytes_stand_there_a_reader_says_so_or_reads_them(record: GroupRecord) -> None:
    """One byte changed, the end cut off, or chance: refused, or a record of exactly these bytes."""
    key, value = encode(record)
    chance = Random(1)
    tried = [Encoded(key[:at], value) for at in range(len(key))]
    tried += [Encoded(key, value[:at]) for at in range(len(value))]
    tried += [Encoded(spoilt, value) for spoilt in changed(key)]
    tried += [Encoded(key, spoilt) for spoilt in changed(value)]
    tried += [Encoded(key, value[:1] + chance.randbytes(60)) for _ in range(300)]
    tried += [Encoded(key[:2] + chance.randbytes(30), value) for _ in range(300)]
    refused = 0
    for encoded in tried:
        try:
            assert encode(decode(*encoded)) == encoded
        except (MalformedError, DirectoryRefused):
            refused += 1
    assert refused > len(key) + len(value)


def changed(good: bytes) -> list[bytes]:
    return [
        good[:at] + bytes([good[at] ^ change]) + good[at + 1 :]
        for at in range(len(good))
        for change in (1, 0x80, 0xFF)
    ]


@pytest.mark.parametrize(
    ("key", "value"), [(None, b"\1"), (b"\1\1", None), (b"", b""), (b"\1", b"\1")]
)
def test_a_record_without_key_or_value_is_refused(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises(MalformedError):
        decode(key, value)


@pytest.mark.parametrize("head", [b"\2\1", b"\1\0", b"\1\x09", b"\0\0"])
def test_what_a_newer_release_wrote_is_refused_and_never_passed_over(head: bytes) -> None:
    key, value = encode(EACH[0])
    with pytest.raises(DirectoryRefused, match="newer release") as refused:
        decode(head + key[2:], value)
    assert refused.value.exit_code == 13
    with pytest.raises(DirectoryRefused, match="newer release"):
        decode(key, b"\2" + value[1:])


@pytest.mark.parametrize(
    ("number", "written", "newer"),
    [
        (0, b"\0\0\0\5\x02", b"\0\0\0\5\x03"),
        (0, b"uniform", b"balance"),
        (3, b"\1\3", b"\1\x09"),
        (5, b"\1\0\4note", b"\2\0\4note"),
    ],
)
def test_a_choice_that_only_a_newer_release_has_is_told_as_such(
    number: int, written: bytes, newer: bytes
) -> None:
    """Protocol, assignor, reason, cause: nothing is damaged, the other release is to be started."""
    key, value = encode(EACH[number])
    assert value.count(written) == 1
    with pytest.raises(DirectoryRefused, match="newer release") as refused:
        decode(key, value.replace(written, newer))
    assert refused.value.exit_code == 13


@pytest.mark.parametrize(
    "spoilt",
    [
        {"offset": Offset(-1)},
        {"leader_epoch": LeaderEpoch(-1)},
        {"leader_epoch": LeaderEpoch(-2)},
        {"partition": PartitionId(ONE, -1)},
    ],
)
def test_what_a_start_would_refuse_is_never_written(spoilt: dict[str, Any]) -> None:
    assert isinstance(EACH[5], OffsetCommitted)
    with pytest.raises(AssertionError, match="COMMIT_IS_READABLE"):
        encode(replace(EACH[5], **spoilt))


def test_nobody_holds_anything_since_an_epoch_below_zero() -> None:
    holds = (Owned(PartitionId(ONE, 0), GroupEpoch(-1)),)
    written = next(one for one in EACH if isinstance(one, AssignmentChanged))
    with pytest.raises(MalformedError, match="held since an epoch below zero"):
        decode(*encode(replace(written, owned=holds)))


def test_zeros_are_no_record() -> None:
    with pytest.raises((MalformedError, DirectoryRefused)):
        decode(bytes(64), bytes(64))
