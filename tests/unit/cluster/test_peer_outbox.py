"""On a full link what is urgent does not wait for bulk: it goes first, and long frames in parts."""

import asyncio
from functools import partial
from random import Random
from struct import pack

import pytest

from cluster.controller.request_frames import BrokerHeartbeat
from cluster.controller.request_frames import encode as encode_asked
from cluster.peer import part
from cluster.peer.hello import Reason, Side
from cluster.peer.part import PART_BYTES, Assembly, Part
from cluster.peer.table import FRAME_BYTES_MAX, HEAD, Frame, FrameType, parse
from cluster.shell.peer_outbox import Outbox
from cluster.shell.peer_pace import Pace
from cluster.shell.wire import Buffer
from model.errors import ErrorCode, MalformedError, Outcome, RequestError
from model.ids import NodeId, RegistrationEpoch
from tests.unit.cluster.test_peer_link import BEAT, Alone, framed, refusal, split

HEARTBEAT = encode_asked(BrokerHeartbeat(NodeId(2), RegistrationEpoch(1)), correlation=9)
EVERYTHING = 1 << 30


def batches(size: int, *, fill: int = 7) -> list[Buffer]:
    """Return a frame of that many bytes, in two pieces."""
    return [HEAD.pack(FrameType.BATCHES, 0, 0), bytes([fill]) * (size - HEAD.size)]


def assembled(frames: list[bytes]) -> list[bytes]:
    """Return the frames with those that came in parts made whole."""
    assembly, whole = Assembly(), list[bytes]()
    for frame in frames:
        if frame[0] != FrameType.PART:
            whole.append(frame)
        elif (made := assembly.take(parse(frame, version=1))) is not None:
            whole.append(bytes(made))
    assert not assembly.held_bytes
    return whole


def taken(outbox: Outbox, room: int) -> list[bytes]:
    return split(b"".join(outbox.take(room)))


def test_what_is_urgent_overtakes_bulk_and_nothing_of_its_own_kind() -> None:
    outbox = Outbox(Pace())
    frames: list[list[Buffer]] = [
        batches(100),
        [BEAT],
        [HEARTBEAT],
        batches(200),
        [HEARTBEAT, b""],
    ]
    for frame in frames:
        outbox.put(frame, sum(map(len, frame)))
    assert taken(outbox, 0) == [HEARTBEAT, HEARTBEAT]
    assert taken(outbox, 1) == [b"".join(batches(100))]
    assert outbox.waits
    assert taken(outbox, EVERYTHING) == [BEAT, b"".join(batches(200))]
    assert (outbox.waiting_bytes, outbox.waits) == (0, False)


def raft(kind: FrameType, size: int = 60, *, fill: int = 1) -> bytes:
    """Return a message of the quorum, as long as it is said to be."""
    return HEAD.pack(kind, 0, 0) + bytes([fill]) * (size - HEAD.size)


def put(outbox: Outbox, *frames: bytes) -> None:
    for frame in frames:
        outbox.put([frame], len(frame))


def test_a_long_urgent_frame_is_not_overtaken_by_its_family_but_by_heartbeats() -> None:
    outbox = Outbox(Pace())
    long = raft(FrameType.APPEND_REQUEST, 4 * PART_BYTES)
    newer = raft(FrameType.APPEND_REQUEST, 60, fill=2)
    last = raft(FrameType.APPEND_REQUEST, 2 * PART_BYTES, fill=3)
    beats = [raft(FrameType.RAFT_HEARTBEAT), raft(FrameType.RAFT_HEARTBEAT_REPLY), HEARTBEAT]
    put(outbox, long)
    first = taken(outbox, 1)
    put(outbox, newer, last, *beats)
    assert [frame[0] for frame in first] == [FrameType.PART]
    assert taken(outbox, 0) == beats
    put(outbox, raft(FrameType.RAFT_HEARTBEAT, fill=9))
    second = taken(outbox, 1)
    assert [frame[0] for frame in second] == [FrameType.RAFT_HEARTBEAT, FrameType.PART]
    rest = taken(outbox, EVERYTHING)
    assert assembled([*first, *second[1:], *rest]) == [long, newer, last]
    put(outbox, newer)
    assert taken(outbox, 0) == [newer], "nothing long of its family waits any more"


def test_long_urgent_frames_go_before_bulk_but_not_into_the_middle_of_a_frame() -> None:
    outbox = Outbox(Pace())
    bulk, urgent = b"".join(batches(3 * PART_BYTES)), raft(FrameType.APPEND_REQUEST, 3 * PART_BYTES)
    put(outbox, bulk)
    came = taken(outbox, 1)
    put(outbox, bulk, urgent)
    while outbox.waiting_bytes:
        came += taken(outbox, 1)
    assert assembled(came) == [bulk, urgent, bulk]


def test_a_large_append_goes_through_a_full_link_with_heartbeats_between_its_parts() -> None:
    alone = Alone(Side.DIALS, reads_answers=False).proven()
    beat = raft(FrameType.RAFT_HEARTBEAT)
    long, newer = raft(FrameType.APPEND_REQUEST, 8 << 20), raft(FrameType.APPEND_REQUEST, 60)
    for _ in range(4):
        assert alone.link.say(batches(1 << 20))
    assert alone.link.say(long)
    assert alone.link.say(newer)
    frames, beats = alone.sent(), 0
    while alone.link.waiting_bytes:
        assert alone.link.say(beat)
        assert alone.sent() == [beat], "it waits for nothing"
        beats += 1
        alone.transport.drained()
        frames += alone.sent()
        assert alone.link.unwritten_bytes <= 2 * PART_BYTES + 100
    whole = [frame for frame in assembled(frames) if frame[0] == FrameType.APPEND_REQUEST]
    assert whole == [long, newer]
    assert beats > 10


def test_whatever_the_sizes_the_same_bytes_arrive_in_their_order() -> None:
    chance = Random(3)
    near = [PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 5 * PART_BYTES + 3]
    for _ in range(30):
        outbox, given, came = Outbox(Pace()), list[bytes](), list[bytes]()
        for number in range(6):
            size = chance.choice([*near, chance.randrange(HEAD.size, 3 * PART_BYTES)])
            frame = b"".join(batches(size, fill=number))
            cuts = sorted(chance.randrange(1, size) for _ in range(3))
            edges = list(zip([0, *cuts], [*cuts, size], strict=True))
            pieces = [memoryview(frame)[a:b] for a, b in edges if a < b]
            outbox.put([bytes(pieces[0]), *pieces[1:]], size)
            given.append(frame)
            came += taken(outbox, chance.randrange(2 * PART_BYTES))
        while outbox.waiting_bytes:
            came += taken(outbox, 1)
        assert max(map(len, came)) <= PART_BYTES + HEAD.size + 4
        assert assembled(came) == given


def test_on_a_full_link_a_heartbeat_leaves_at_once_and_bulk_waits() -> None:
    alone = Alone(Side.DIALS, reads_answers=False).proven()
    for _ in range(8):
        assert alone.link.say(batches(1 << 20))
    first = alone.sent()
    assert alone.link.unwritten_bytes <= 2 * PART_BYTES + 100
    assert alone.link.say(HEARTBEAT)
    assert alone.sent() == [HEARTBEAT]
    frames = first
    while alone.link.waiting_bytes:
        alone.transport.drained()
        frames += alone.sent()
    assert assembled(frames) == [b"".join(batches(1 << 20))] * 8


def forward(size: int, *, correlation: int) -> bytes:
    """Return a client's call of that many bytes on its way."""
    return HEAD.pack(FrameType.FORWARD, 0, correlation) + bytes(size - HEAD.size)


async def asking(alone: Alone, size: int) -> "asyncio.Task[Frame]":
    """Return a call that waits to leave."""
    task = asyncio.ensure_future(alone.link.ask(partial(forward, size), timeout_ms=60_000))
    await asyncio.sleep(0)
    return task


async def outcomes(*tasks: "asyncio.Task[Frame]") -> list[ErrorCode | None]:
    told = await asyncio.gather(*tasks, return_exceptions=True)
    return [one.code if isinstance(one, RequestError) else None for one in told]


async def test_a_call_that_waited_when_the_link_broke_is_not_done() -> None:
    """P4: what was handed over, if only in part, nobody knows of."""
    alone = Alone(Side.DIALS, reads_answers=False).proven()
    first = await asking(alone, 100)
    half = await asking(alone, 4 << 20)
    waits = await asking(alone, 100)
    late = await asking(alone, 3 << 20)
    assert alone.sent()
    alone.transport.lose()
    lost, never = ErrorCode.UPSTREAM_LOST, ErrorCode.NODE_UNREACHABLE
    assert await outcomes(first, half, waits, late) == [lost, lost, never, never]
    assert (lost.outcome, never.outcome) == (Outcome.UNKNOWN, Outcome.NOT_DONE)


async def test_a_call_that_an_urgent_frame_asks_has_left_with_its_tick() -> None:
    alone = Alone(Side.DIALS, reads_answers=False).proven()
    assert alone.link.say(batches(4 << 20))
    alone.sent()
    beat = BrokerHeartbeat(NodeId(2), RegistrationEpoch(1))
    task = asyncio.ensure_future(alone.link.ask(partial(encode_asked, beat), timeout_ms=60_000))
    await asyncio.sleep(0)
    assert alone.sent()
    alone.transport.lose()
    assert await outcomes(task) == [ErrorCode.UPSTREAM_LOST]


async def test_what_waits_on_a_link_that_is_left_in_order_still_leaves_and_is_unknown() -> None:
    alone = Alone(Side.DIALS, reads_answers=False).proven()
    task = await asking(alone, 4 << 20)
    last = await asking(alone, 100)
    alone.link.leave()
    assert await outcomes(task, last) == [ErrorCode.UPSTREAM_LOST] * 2
    frames = alone.sent()
    while alone.link.waiting_bytes:
        alone.transport.drained()
        frames += alone.sent()
    assert [len(frame) for frame in assembled(frames)] == [4 << 20, 100]


def test_as_long_as_the_other_end_reads_bulk_leaves_without_being_asked_again() -> None:
    alone = Alone(Side.DIALS).proven()
    for _ in range(8):
        assert alone.link.say(batches(1 << 20))
    assert assembled(alone.sent()) == [b"".join(batches(1 << 20))] * 8


@pytest.mark.parametrize("side", Side)
def test_what_was_said_before_the_end_still_leaves(side: Side) -> None:
    alone = Alone(side, reads_answers=False).proven()
    if side is Side.DIALS:
        frame = batches(4 << 20)
    else:
        frame = [HEAD.pack(FrameType.FORWARDED, 0, 3), bytes((4 << 20) - HEAD.size)]
    assert alone.link.say(frame)
    alone.link.leave()
    frames = alone.sent()
    assert not alone.transport.closing
    while alone.link.waiting_bytes:
        alone.transport.drained()
        frames += alone.sent()
    assert assembled(frames) == [b"".join(frame)]
    assert alone.transport.closing and not alone.transport.aborted


def test_a_heartbeat_between_two_parts_is_handled_before_the_frame_is_whole() -> None:
    alone = Alone(Side.LISTENS).proven()
    outbox = Outbox(Pace())
    frame = batches(PART_BYTES + 10)
    outbox.put(frame, PART_BYTES + 10)
    first, last = taken(outbox, EVERYTHING)
    alone.transport.feed(framed(first, HEARTBEAT))
    assert alone.owner.frames == [HEARTBEAT]
    assert alone.doors.memory.taken_bytes >= PART_BYTES
    alone.transport.feed(framed(last))
    assert alone.owner.frames == [HEARTBEAT, b"".join(frame)]
    alone.transport.lose()
    assert alone.doors.memory.taken_bytes == 0


def test_answers_come_in_parts_too() -> None:
    alone = Alone(Side.DIALS).proven()
    alone.transport.feed(framed(part.encode(Part(FRAME_BYTES_MAX - 10, b"0123456789"))))
    assert alone.link.is_up
    alone.transport.lose()
    assert alone.doors.memory.taken_bytes == 0


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([Part(FRAME_BYTES_MAX, b"x")], f"of a frame of {FRAME_BYTES_MAX + 1} bytes"),
        ([Part(4, b"ab"), Part(3, b"cd")], "of a frame of 7 bytes, where one of 6 had begun"),
        ([Part(0, part.encode(Part(0, BEAT)))], "of a frame that is a part itself"),
        ([Part(4, bytes([FrameType.PART]))], "of a frame that is a part itself"),
        ([Part(0, b"abc")], "3 bytes, not 6 to"),
        ([Part(0, bytes([FrameType.BEAT]) + BEAT[1:-1])], "a body of 7 bytes, not 8 to 8"),
    ],
)
def test_parts_that_make_no_frame_end_the_link(parts: list[Part], why: str) -> None:
    alone = Alone(Side.LISTENS).proven()
    alone.transport.feed(framed(*map(part.encode, parts), BEAT))
    told = refusal(alone.sent())
    assert told.reason in {Reason.MALFORMED, Reason.UNKNOWN_FRAME}
    assert why in told.detail
    assert alone.owner.frames == []


def test_any_parts_end_in_a_refusal_or_are_frames() -> None:
    chance = Random(5)
    for _ in range(300):
        assembly = Assembly()
        for _ in range(4):
            left = chance.choice([0, 1, 5, chance.randrange(1 << 32)])
            body = pack(">I", left) + chance.randbytes(chance.randrange(1, 8))
            try:
                assembly.take(parse(HEAD.pack(FrameType.PART, 0, 0) + body, version=1))
            except MalformedError as refused:
                assert refused.why
                break
