"""On a fast network bulk is handed over in large steps, on a slow one in small ones."""

import pytest

from cluster.peer.hello import Side
from cluster.peer.part import PART_BYTES
from cluster.peer.table import FrameType
from cluster.shell.peer_outbox import Outbox
from cluster.shell.peer_pace import AHEAD_BYTES_MAX, MOMENT_MS, Pace
from model.ids import MonotonicMs
from tests.unit.cluster.test_peer_link import Alone
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


def drained(alone: Alone, ms: int) -> int:
    """Let the network take all that it has, for so long; return the most that it ever had."""
    most = 0
    for _ in range(ms):
        most = max(most, alone.link.unwritten_bytes)
        alone.transport.drained()
        alone.sent()
        alone.net.clock.advance(1)
    return most


def test_a_link_finds_out_how_fast_its_network_is() -> None:
    alone = Alone(Side.DIALS, reads_answers=False).proven()
    for _ in range(40):
        assert alone.link.say(batches(FRAME_BYTES))
    alone.sent()
    assert drained(alone, MOMENT_MS) <= 2 * PART_BYTES + 100, "it may be a slow one"
    assert drained(alone, MOMENT_MS) > 4 * PART_BYTES
    while alone.link.waiting_bytes:
        drained(alone, 1)
        alone.net.clock.advance(5 * MOMENT_MS)  # it has become slow
    for _ in range(8):
        assert alone.link.say(batches(FRAME_BYTES))
    alone.sent()
    assert alone.link.unwritten_bytes <= 2 * PART_BYTES + 100
