"""Who waits for room has it in his turn, however much he needs (P53)."""

import asyncio

import pytest

from api.broker import answer_room
from api.broker.answer_room import AnswerRoom
from api.broker.fetch import Fetched, Want
from api.broker.memory import MemoryBudget
from api.sim.disk import SimDisk
from model.errors import ErrorCode, RequestError
from model.ids import Offset
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, batch_of, broker_node, cold
from tests.group_state import until
from tests.quorum import turns

LIMIT = 1_000


async def waiting(answers: MemoryBudget, size: int) -> tuple[AnswerRoom, "asyncio.Task[None]"]:
    room = AnswerRoom(answers)
    task = asyncio.ensure_future(room.take(size))
    await turns()
    return room, task


async def test_who_needs_much_is_not_passed_by_who_needs_little() -> None:
    answers = MemoryBudget(LIMIT)
    answers.take(600)
    large, taking = await waiting(answers, 700)
    small, behind = await waiting(answers, 100)
    assert not (taking.done() or behind.done()), "who is first has the next room there is"
    assert not AnswerRoom(answers).try_now(100)
    answers.give_back(250)
    await turns()
    assert not (taking.done() or behind.done())
    answers.give_back(50)
    await turns()
    assert taking.done() and not behind.done()
    large.give_back(100)
    await behind
    assert (large.held_bytes, small.held_bytes, answers.taken_bytes) == (600, 100, LIMIT)


async def test_what_is_in_memory_already_goes_past() -> None:
    answers = MemoryBudget(LIMIT)
    answers.take(600)
    await waiting(answers, 700)
    AnswerRoom(answers).count(900)
    assert answers.taken_bytes == 1_500


@pytest.mark.parametrize("end", ["cancelled", "too late"])
async def test_who_leaves_the_row_lets_the_next_have_his_turn(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = MemoryBudget(LIMIT)
    answers.take(600)
    with monkeypatch.context() as patch:
        if end == "too late":
            patch.setattr(answer_room, "WAIT_S_MAX", 0.01)
        _, taking = await waiting(answers, 700)
    small, behind = await waiting(answers, 100)
    if end == "cancelled":
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
    else:
        with pytest.raises(RequestError) as shed:
            await taking
        assert shed.value.code is ErrorCode.OVERLOADED
    await behind
    assert (small.held_bytes, answers.taken_bytes, len(answers.row)) == (100, 700, 0)


async def test_room_that_was_given_to_who_has_gone_comes_back() -> None:
    answers = MemoryBudget(LIMIT)
    answers.take(600)
    _, taking = await waiting(answers, 700)
    answers.give_back(600)
    assert answers.taken_bytes == 700, "it is his before he hears of it"
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert answers.taken_bytes == 0


def test_who_is_called_has_the_room_that_he_asked_for() -> None:
    answers, rung = MemoryBudget(LIMIT), list[str]()
    answers.take(900)
    one, other = AnswerRoom(answers), AnswerRoom(answers)
    assert not one.try_take(300, lambda: rung.append("one"))
    assert not other.try_take(50, lambda: rung.append("other"))
    assert not one.try_take(200, lambda: rung.append("one"))
    answers.give_back(100)
    assert rung == ["one"], "the place is that of the first asking, the need that of the last"
    assert one.try_take(150, lambda: rung.append("again"))
    assert (one.held_bytes, answers.taken_bytes, rung) == (150, 1_000, ["one", "other"])
    other.forget()
    assert answers.taken_bytes == 950
    one.clear()
    assert not one.try_take(400, lambda: rung.append("more"))
    answers.give_back(800)
    assert not one.try_take(1_200, lambda: rung.append("most")), "it wants more than it was given"
    assert answers.taken_bytes == 0 or rung[-1] == "most"


def test_who_does_not_come_leaves_the_row() -> None:
    answers, rung = MemoryBudget(LIMIT), list[str]()
    answers.take(900)
    one, other = AnswerRoom(answers), AnswerRoom(answers)
    assert not one.try_take(300, lambda: rung.append("one"))
    assert not other.try_take(50, lambda: rung.append("other"))
    one.forget()
    assert rung == ["other"]
    other.forget()
    assert (answers.taken_bytes, len(answers.row)) == (900, 0)


def fetch(node: BrokerNode, max_wait_ms: int) -> list[Fetched]:
    """Begin to read orders as the Kafka listener does; the answer comes into the list."""
    told = list[Fetched]()
    want = Want(node.broker.partition("orders", 0), Offset(0), 1 << 20)
    node.broker.fetch(
        ANONYMOUS,
        [want],
        min_bytes=1,
        max_bytes=1 << 20,
        max_wait_ms=max_wait_ms,
        done=told.extend,
    )
    return told


async def test_a_kafka_fetch_stands_in_the_same_row() -> None:
    """It passes nobody who waits, and is passed by nobody who comes after it."""
    async with asyncio.timeout(20), broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"v"]))
        answers = node.node.answers
        taken = answers.free_bytes // 2
        answers.take(taken)
        first, taking = await waiting(answers, 2 * taken - 1_000)
        (row,) = fetch(node, max_wait_ms=0)
        assert (row.error, row.size_bytes) == (None, 0), "nothing before those who wait"
        told = fetch(node, max_wait_ms=60_000)
        _, last = await waiting(answers, answers.free_bytes)
        await turns()
        assert not (told or taking.done() or last.done())
        answers.give_back(taken)
        await taking
        assert not told, "there is too little left"
        first.clear()
        await until(lambda: bool(told))
        assert told[0].size_bytes > 0
        await last


async def test_who_waits_for_a_short_time_has_room_as_often_as_who_waits_for_long() -> None:
    """A fetch leaves when its time is over, and comes again behind all others: of its own kind."""
    async with asyncio.timeout(20), broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"v"]))
        answers = node.node.answers
        size = answers.free_bytes
        answers.take(size)
        rooms = [AnswerRoom(answers) for _ in range(4)]
        taking = [asyncio.ensure_future(room.take(size)) for room in rooms[:2]]
        await turns()
        members = [room.try_take(size, lambda: None) for room in rooms[2:]]
        assert members == [False, False]
        fetch(node, max_wait_ms=1_000)
        await turns()
        node.clock.advance(1_000)
        told = fetch(node, max_wait_ms=60_000)
        await turns()
        answers.give_back(size)  # to the first member's stream
        assert not taking[0].done()
        rooms[2].forget()
        await taking[0]
        rooms[0].clear()
        await until(lambda: bool(told))
        assert told[0].size_bytes > 0
        assert len(answers.row) == 1, "the second member's has its turn, the second call is next"
        rooms[3].forget()
        await taking[1]


async def test_a_kafka_fetch_whose_time_is_over_leaves_the_row() -> None:
    disk = SimDisk()
    await cold(disk, "orders")
    async with asyncio.timeout(20), broker_node(disk) as node:
        answers = node.node.answers
        taken = answers.free_bytes
        answers.take(taken)
        told = fetch(node, max_wait_ms=1_000)
        await turns()
        assert (len(answers.row), told) == (1, [])
        node.clock.advance(1_000)
        assert [row.size_bytes for row in told] == [0]
        assert (len(answers.row), answers.taken_bytes) == (0, taken)
        answers.give_back(taken)
