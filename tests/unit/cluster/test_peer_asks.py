"""Questions between nodes: each ends once, and claims no more than is known (P4)."""

import asyncio

import pytest

from cluster.controller.answer_frames import encode as encode_answer
from cluster.peer.forward import CallRefused, encode_refused
from cluster.peer.hello import Hello
from cluster.peer.table import HEAD, Family, Frame, FrameType
from cluster.shell.peer_answer import Answer
from cluster.shell.peer_asks import Asks
from cluster.shell.peer_doors import (
    ASKS_MAX,
)
from cluster.shell.peer_silence import SILENT_MS
from model.errors import ErrorCode, MalformedError, Outcome
from tests.peer_network import (
    MemoryNetwork,
    Process,
    hello_of,
)
from tests.peer_pair import EMPTY, TWO, Taken, asking, beat, pair, refusal_of


async def test_an_answer_finds_its_question_whatever_the_order() -> None:
    net, one, two = pair()
    taken = Taken(two.links)
    first, second = await asking(one, TWO), await asking(one, TWO)
    net.run()
    (low, answer_first), (high, answer_second) = taken.asked
    answer_second(encode_answer(EMPTY, correlation=high))
    net.run()
    said = await second
    assert said.type is FrameType.SEED_ANSWER and said.correlation == high
    assert not first.done()
    answer_first(
        encode_refused(CallRefused(Outcome.NOT_DONE, "NO_QUORUM", "wait"), correlation=low)
    )
    net.run()
    refused = await refusal_of(first)
    assert (refused.code, refused.detail) == (ErrorCode.NO_QUORUM, "wait")
    assert bytes(said.body) == encode_answer(EMPTY, correlation=1)[HEAD.size :], "it lasts"


async def test_an_ask_that_cannot_leave_is_not_done() -> None:
    net = MemoryNetwork()
    one = Process(net, hello_of(1))
    unknown = await refusal_of(await asking(one, TWO))
    one.know(2)
    down = await refusal_of(await asking(one, TWO))
    for refused in (unknown, down):
        assert refused.code is ErrorCode.NODE_UNREACHABLE
        assert refused.metadata == {"node": "2"}
    assert unknown.detail != down.detail


async def test_a_link_that_is_lost_before_the_ask_left_is_not_done_and_after_it_unknown() -> None:
    net, one, two = pair()
    Taken(two.links)
    late = await asking(one, TWO)
    net.run()
    early = await asking(one, TWO)
    two.kill(ConnectionResetError())
    assert (await refusal_of(late)).code is ErrorCode.UPSTREAM_LOST
    assert (await refusal_of(early)).code is ErrorCode.NODE_UNREACHABLE
    assert ErrorCode.UPSTREAM_LOST.outcome is Outcome.UNKNOWN
    assert ErrorCode.NODE_UNREACHABLE.outcome is Outcome.NOT_DONE


async def test_an_ask_ends_with_its_time_and_its_late_answer_is_dropped() -> None:
    net, one, two = pair()
    taken = Taken(two.links)
    task = await asking(one, TWO, timeout_ms=300)
    net.after(299)
    await asyncio.sleep(0)
    assert not task.done()
    net.after(1)
    assert (await refusal_of(task)).code is ErrorCode.REQUEST_TIMED_OUT
    correlation, answer = taken.asked[0]
    answer(encode_answer(EMPTY, correlation=correlation))
    net.run()
    assert one.seen.taken() == [], "the link goes on"
    assert one.links.say(TWO, beat(1))


async def test_an_ask_that_is_given_up_leaves_nothing_behind() -> None:
    net, one, two = pair()
    Taken(two.links)
    task = await asking(one, TWO)
    net.run()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    two.kill()
    assert sorted(one.seen.taken()) == ["lost 2 CLOSED", "went 2 #1 CLOSED"]


async def test_the_answer_to_another_question_ends_the_link() -> None:
    net, one, two = pair()
    taken = Taken(two.links)
    task = await asking(one, TWO)
    net.run()
    correlation, answer = taken.asked[0]
    answer(HEAD.pack(FrameType.FORWARDED, 0, correlation) + b"payload")
    net.run()
    assert (await refusal_of(task)).code is ErrorCode.UPSTREAM_LOST
    assert "lost 2 REFUSED" in one.seen.taken()


async def test_what_nobody_reads_is_dropped_or_refused_and_the_link_goes_on() -> None:
    net, one, _ = pair()
    assert one.links.say(TWO, beat(1))
    task = await asking(one, TWO)
    net.run()
    refused = await refusal_of(task)
    assert refused.code is ErrorCode.NODE_UNREACHABLE
    assert "takes no controller frames" in refused.detail
    assert one.seen.taken() == []


async def test_there_is_an_end_to_what_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net, one, two = pair()
    Taken(two.links)
    monkeypatch.setattr("cluster.shell.peer_asks.ASKS_MAX", 3)
    tasks = [await asking(one, TWO) for _ in range(4)]
    refused = await refusal_of(tasks[3])
    assert (refused.code, refused.metadata["limit"]) == (ErrorCode.OVERLOADED, "3")
    net.after(500)
    await asyncio.gather(*tasks[:3], return_exceptions=True)
    assert ASKS_MAX > 3 and Asks(net.clock).correlation() == 1


def test_a_frame_that_its_reader_cannot_read_ends_the_link_and_says_why() -> None:
    net, one, two = pair()

    def read(peer: Hello, frame: Frame, answer: Answer | None) -> None:
        raise MalformedError(frame.type.name, 6, f"no such beat of node {peer.node}")

    two.links.route(Family.REPLICA, read)
    net.after(1_000)
    assert one.links.say(TWO, beat(1))
    net.run()
    assert one.seen.taken() == ["barred n2:7000 MALFORMED there", "lost 2 REFUSED"]
    assert two.seen.taken() == ["turned away MALFORMED here", "went 1 #1 REFUSED"]
    net.after(0)
    assert one.seen.taken() == ["up 2"], "it lived for a second: dialled again at once"


async def test_a_slow_answer_ends_no_link() -> None:
    net, one, two = pair()
    taken = Taken(two.links)
    task = await asking(one, TWO, timeout_ms=60_000)
    net.after(5 * SILENT_MS)
    await asyncio.sleep(0)
    assert not task.done()
    correlation, answer = taken.asked[0]
    answer(encode_answer(EMPTY, correlation=correlation))
    net.run()
    assert (await task).type is FrameType.SEED_ANSWER
    assert one.seen.taken() == []


async def test_an_answer_is_given_once_to_the_one_who_asked() -> None:
    net, one, two = pair()
    taken = Taken(two.links)
    task = await asking(one, TWO)
    net.run()
    correlation, answer = taken.asked[0]
    with pytest.raises(AssertionError, match="PEER_ANSWER_CORRELATED"):
        answer(encode_answer(EMPTY, correlation=correlation + 1))
    answer(encode_answer(EMPTY, correlation=correlation))
    with pytest.raises(AssertionError, match="PEER_ANSWER_CORRELATED"):
        answer(encode_answer(EMPTY, correlation=correlation))
    net.run()
    await task
