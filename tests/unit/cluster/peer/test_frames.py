"""Frames between nodes, byte for byte; what is damaged or unknown is refused, and nothing else."""

import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cluster.controller import answer_frames, request_frames
from cluster.peer import forward, hello, replica_frames, snapshot
from cluster.peer.table import (
    FRAME_BYTES_MAX,
    HEAD,
    TABLE,
    FrameType,
    Manner,
    UnknownFrameError,
    head,
    packed,
    parse,
)
from cluster.raft import message_frames
from model.errors import MalformedError
from tests.datadriven import Command, run_script
from tests.peer_frames import CORRELATION, Sample, comparable, read, samples, write

SAMPLES = samples()
SCRIPT = Path(__file__).parents[3] / "data/peer/frames.txt"
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)


def outcome(frame: bytes) -> Any:
    """Return what a frame carries, or the one error that may come of it."""
    try:
        return read(frame)
    except MalformedError as refused:
        return refused


def execute(command: Command) -> str:
    """Run `write frame=NAME [nth=N]`: value and bytes, 32 a line; or `read` with bytes as input."""
    if command.name == "write":
        found = [one for one in SAMPLES if one.name == command.text("frame")]
        sample = found[command.integer("nth", 1) - 1]
        text = sample.frame.hex()
        return "\n".join(
            [repr(sample.value), *(text[at : at + 64] for at in range(0, len(text), 64))]
        )
    said = outcome(bytes.fromhex("".join(command.lines)))
    return f"{type(said).__name__}: {said}" if isinstance(said, MalformedError) else repr(said)


def test_script(rewrite: bool) -> None:
    run_script(SCRIPT, execute, rewrite=rewrite)


def test_every_type_stands_in_the_script() -> None:
    text = SCRIPT.read_text()
    assert {one for one in FrameType if f"frame={one.name}\n" not in text} == set()


@each_sample
def test_what_is_written_is_read(sample: Sample) -> None:
    assert comparable(read(sample.frame)) == comparable(sample.value)
    parsed = parse(sample.frame, version=1)
    asked = parsed.row.manner is not Manner.SAYS
    assert parsed.correlation == (CORRELATION if asked else 0)


@each_sample
def test_a_frame_that_is_cut_or_longer_is_refused(sample: Sample) -> None:
    open_ended = TABLE[FrameType(sample.frame[0])].most > 64 << 10 and sample.name in {
        "FORWARD", "FORWARDED", "PART", "RAFT_SNAPSHOT_CHUNK", "STATE_PART",
    }  # fmt: skip
    for end in range(len(sample.frame)):
        said = outcome(sample.frame[:end])
        assert isinstance(said, MalformedError) or open_ended, end
        assert comparable(said) != comparable(sample.value)
    said = outcome(sample.frame + b"\0")
    assert isinstance(said, MalformedError) or open_ended


@each_sample
def test_every_byte_changed_is_noticed(sample: Sample) -> None:
    for at in range(len(sample.frame)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(sample.frame)
            changed[at] ^= flip
            said = outcome(bytes(changed))
            if isinstance(said, MalformedError):
                assert said.why
                assert 0 <= said.at <= len(changed)
            elif 2 <= at < HEAD.size:  # another question's answer
                assert comparable(said) == comparable(sample.value)
            else:
                assert comparable(said) != comparable(sample.value)
                assert len(write(said)) == len(changed)


def test_noise_behind_a_sound_head_is_refused_or_read() -> None:
    chance = Random(7)
    for _ in range(3_000):
        number = chance.choice(list(FrameType))
        row = TABLE[number]
        size = chance.randrange(row.least, min(row.most, row.least + 200) + 1)
        body = chance.randbytes(size) if chance.random() < 0.5 else bytes(size)
        frame = packed(number, body, correlation=0 if row.manner is Manner.SAYS else 1)
        said = outcome(frame)
        assert isinstance(said, MalformedError) or comparable(read(write(said))) == comparable(said)


@pytest.mark.parametrize("number", sorted(set(range(256)) - set(FrameType)))
def test_an_unknown_type_is_refused_by_its_number(number: int) -> None:
    with pytest.raises(UnknownFrameError, match=f"type {number} is none of protocol version 1"):
        parse(HEAD.pack(number, 0, 0), version=1)


def test_a_type_of_a_later_version_is_unknown_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    later = dict(TABLE) | {FrameType.LEAVE: TABLE[FrameType.LEAVE]._replace(since=2)}
    monkeypatch.setattr("cluster.peer.table.TABLE", later)
    frame = next(one.frame for one in SAMPLES if one.name == "LEAVE")
    with pytest.raises(UnknownFrameError, match="none of protocol version 1"):
        parse(frame, version=1)
    assert parse(frame, version=2).type is FrameType.LEAVE


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"", "peer frame at byte 0: 0 bytes"),
        (bytes(5), "5 bytes"),
        (HEAD.pack(FrameType.BEAT, 1, 0) + bytes(8), "BEAT at byte 1: flags 0x01"),
        (HEAD.pack(FrameType.BEAT, 0, 1) + bytes(8), "BEAT at byte 2: correlation 1 of what says"),
        (HEAD.pack(FrameType.DONE, 0, 0), "DONE at byte 2: correlation 0 of what answers"),
        (HEAD.pack(FrameType.BEAT, 0, 0) + bytes(9), "BEAT at byte 6: a body of 9 bytes, not 8"),
    ],
)
def test_a_head_that_is_wrong_is_told_by_its_place(frame: bytes, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        parse(frame, version=1)


def test_a_frame_above_the_limit_is_refused_without_being_read() -> None:
    frame = memoryview(HEAD.pack(FrameType.FORWARD, 0, 1) + bytes(FRAME_BYTES_MAX))
    with pytest.raises(MalformedError, match=f"not 6 to {FRAME_BYTES_MAX}"):
        parse(frame, version=1)
    assert parse(frame[:FRAME_BYTES_MAX], version=1).type is FrameType.FORWARD


def test_a_count_that_cannot_be_allocates_nothing() -> None:
    counts = {"ALTER_ISR": 18, "ISR_ANSWERS": 6, "TELL_RECOVERED": 18, "SET_STANDING": 7,
              "APPEND_REQUEST": 86, "BATCHES": 74, "ANSWER_FOR_UNCLEAN": 18}  # fmt: skip
    for name, at in counts.items():
        frame = bytearray(next(one.frame for one in SAMPLES if one.name == name))
        frame[at : at + 4] = b"\xff\xff\xff\xff"
        tracemalloc.start()
        try:
            with pytest.raises(MalformedError, match="4294967295 rows in"):
                read(bytes(frame))
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()


def test_what_the_other_end_would_refuse_is_not_written() -> None:
    with pytest.raises(AssertionError, match="PEER_FRAME_FITS"):
        head(FrameType.BATCHES, FRAME_BYTES_MAX)
    with pytest.raises(AssertionError, match="PEER_FRAME_FITS"):
        packed(FrameType.BEAT, bytes(9))
    with pytest.raises(AssertionError, match="PEER_FRAME_CORRELATED"):
        head(FrameType.BEAT, 8, correlation=1)
    with pytest.raises(AssertionError, match="PEER_FRAME_CORRELATED"):
        head(FrameType.DONE, 0)


@pytest.mark.parametrize(
    "decode",
    [
        hello.decode,
        forward.decode,
        snapshot.decode,
        replica_frames.decode,
        message_frames.decode,
        request_frames.decode,
        answer_frames.decode,
    ],
)
def test_each_codec_reads_its_own_family_only(decode: Any) -> None:
    foreign = FrameType.PROOF if decode is not hello.decode else FrameType.BEAT
    frame = next(one.frame for one in SAMPLES if one.name == foreign.name)
    with pytest.raises(AssertionError, match="PEER_FRAME_FAMILY"):
        decode(parse(frame, version=1))


def test_questions_and_answers_of_the_controller_are_not_mistaken() -> None:
    by_name = {one.name: parse(one.frame, version=1) for one in SAMPLES}
    with pytest.raises(AssertionError, match="PEER_FRAME_FAMILY"):
        request_frames.decode(by_name["HEARD"])
    with pytest.raises(AssertionError, match="PEER_FRAME_FAMILY"):
        answer_frames.decode(by_name["REGISTER"])
