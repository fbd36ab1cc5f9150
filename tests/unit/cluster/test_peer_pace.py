"""On a fast network bulk is handed over in large steps, on a slow one in small ones."""

import pytest

from cluster.peer.hello import Side
from cluster.peer.part import PART_BYTES
from cluster.peer.table import HEAD, FrameType
from cluster.shell.peer_outbox import Outbox
from cluster.shell.peer_pace import AHEAD_BYTES_MAX, MOMENT_MS, Pace
from cluster.shell.wire import Buffer
from model.ids import MonotonicMs
from tests.unit.cluster.test_peer_link import BEAT, Alone, framed
from tests.unit.cluster.test_peer_outbox import EVERYTHING, assembled, batches, put, raft, taken

FRAME_BYTES = 1 << 20


def told(pace: Pace, *rates: int) -> int:
    """Let the kernel take so many bytes in a moment, one moment after the other."""
    now, taken_bytes = 0, 0
    pace.rests()
    pace.took(MonotonicMs(now), taken_bytes)
    for rate in rates:
        now += MOMENT_MS
        taken_bytes += rate
        pace.took(MonotonicMs(now), taken_bytes)
    return pace.ahead_bytes


@pytest.mark.parametrize(
    ("rates", "ahead_bytes"),
    [
        ((), PART_BYTES),
        ((125_000,), PART_BYTES),
        ((600_000,), 600_000),
        ((10_000_000,), AHEAD_BYTES_MAX),
        ((10_000_000, 125_000), PART_BYTES),
    ],
)
def test_as_much_as_the_network_takes_in_a_moment(rates: tuple[int, ...], ahead_bytes: int) -> None:
    assert told(Pace(), *rates) == ahead_bytes


def test_what_left_while_nothing_more_waited_tells_nothing() -> None:
    pace = Pace()
    told(pace, 600_000)
    pace.rests()
    assert not pace.took(MonotonicMs(10_000), 600_001)
    assert not pace.took(MonotonicMs(10_000 + MOMENT_MS - 1), 600_002)
    assert pace.ahead_bytes == 600_000


def test_a_frame_of_a_stream_goes_whole_on_a_fast_network_and_urgent_ones_in_parts() -> None:
    pace = Pace()
    told(pace, 10_000_000)
    outbox = Outbox(pace)
    outbox.put(batches(FRAME_BYTES), FRAME_BYTES)
    assert taken(outbox, EVERYTHING) == [b"".join(batches(FRAME_BYTES))]
    append = raft(FrameType.APPEND_REQUEST, FRAME_BYTES)
    put(outbox, append)
    parts = taken(outbox, EVERYTHING)
    assert max(map(len, parts)) < PART_BYTES + 100
    assert assembled(parts) == [append]


def passed(alone: Alone, ms: int) -> int:
    """Let the network take all that it has, for so long; return the most that it ever had."""
    most = 0
    for _ in range(ms):
        most = max(most, alone.link.unwritten_bytes)
        alone.transport.drained()
        alone.sent()
        alone.net.clock.advance(1)
    return most


def fast(side: Side) -> Alone:
    """Return a link that has found its network to be fast, and has nothing to say."""
    alone = Alone(side, reads_answers=False).proven()
    kind = FrameType.BATCHES if side is Side.DIALS else FrameType.FORWARDED
    for _ in range(40):
        assert alone.link.say(bulk(FRAME_BYTES, kind))
    alone.sent()
    assert passed(alone, MOMENT_MS) <= 2 * PART_BYTES + 100, "it may be a slow one"
    assert passed(alone, MOMENT_MS) > 4 * PART_BYTES
    while alone.link.waiting_bytes or alone.link.unwritten_bytes:
        passed(alone, 1)
    return alone


def bulk(size: int, kind: FrameType) -> list[Buffer]:
    correlation = 0 if kind is FrameType.BATCHES else 7
    return [HEAD.pack(kind, 0, correlation), bytes(size - HEAD.size)]


def test_a_link_on_which_little_is_said_is_no_slow_one() -> None:
    alone = fast(Side.DIALS)
    for _ in range(6):
        assert alone.link.say(batches(1_000))
        alone.sent()
        alone.transport.drained()
        alone.net.clock.advance(5 * MOMENT_MS)
    frames = list[bytes]()
    for _ in range(3):
        assert alone.link.say(batches(FRAME_BYTES))
    while alone.link.waiting_bytes:
        frames += alone.sent()
        alone.transport.drained()
    assert frames + alone.sent() == [b"".join(batches(FRAME_BYTES))] * 3


def test_what_waits_when_the_network_becomes_slow_leaves_in_parts() -> None:
    alone = fast(Side.DIALS)
    for _ in range(40):
        assert alone.link.say(batches(FRAME_BYTES))
    alone.sent()
    alone.net.clock.advance(20 * MOMENT_MS)
    passed(alone, 1)
    assert alone.link.waiting_bytes > 20 * FRAME_BYTES
    assert alone.link.unwritten_bytes <= 2 * PART_BYTES + 100
    while alone.link.waiting_bytes:
        alone.net.clock.advance(20 * MOMENT_MS)
        assert passed(alone, 1) <= 2 * PART_BYTES + 100


@pytest.mark.parametrize(
    "sizes", [(FRAME_BYTES + 100,), (1_250_000,), (700_000, 700_000), (1_250_000, 1_250_000)]
)
def test_answers_that_leave_in_large_steps_hold_nothing_back(sizes: tuple[int, ...]) -> None:
    """Bulk alone never does; and what is held is let go by the transport, once it was full."""
    alone = fast(Side.LISTENS)
    for size in sizes:
        assert alone.link.say(bulk(size, FrameType.FORWARDED))
    alone.sent()
    assert alone.link.unwritten_bytes > FRAME_BYTES
    alone.transport.feed(framed(BEAT))
    assert alone.owner.frames == [BEAT]
