"""Who shares a question to the controllers, and who needs a later one."""

import asyncio

import pytest

from cluster.shell.shared_barrier import SharedBarrier
from model.errors import ErrorCode, RequestError
from model.ids import NodeId
from tests.state_cluster import Quorum, StateCluster


class SlowQuorum(Quorum):
    """Answers when the test lets it; or refuses."""

    def __init__(self) -> None:
        super().__init__(StateCluster(), NodeId(1))
        self.answers: list[asyncio.Future[None]] = []

    async def read_barrier(self) -> None:
        self.answers.append(asyncio.get_running_loop().create_future())
        await self.answers[-1]


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_comes_while_a_question_is_under_way_shares_the_next_one() -> None:
    quorum = SlowQuorum()
    barrier = SharedBarrier(quorum)
    first = asyncio.create_task(barrier.passed())
    await turns()
    later = [asyncio.create_task(barrier.passed()) for _ in range(5)]
    await turns()
    assert len(quorum.answers) == 1
    quorum.answers[0].set_result(None)
    await turns()
    assert first.done() and not any(one.done() for one in later)
    assert len(quorum.answers) == 2
    quorum.answers[1].set_result(None)
    await asyncio.wait_for(asyncio.gather(first, *later), 30)
    assert len(quorum.answers) == 2
    again = asyncio.create_task(barrier.passed())
    await turns()
    assert len(quorum.answers) == 3 and not again.done()
    again.cancel()


async def test_all_of_them_hear_the_refusal_and_who_comes_then_asks_anew() -> None:
    quorum = SlowQuorum()
    barrier = SharedBarrier(quorum)
    asked = [asyncio.create_task(barrier.passed()) for _ in range(3)]
    await turns()
    for at in range(2):
        quorum.answers[at].set_exception(RequestError(ErrorCode.NO_QUORUM, f"nobody {at}"))
        await turns()
    for one in asked:
        with pytest.raises(RequestError, match="NO_QUORUM"):
            await asyncio.wait_for(one, 30)
    new = asyncio.create_task(barrier.passed())
    await turns()
    quorum.answers[2].set_result(None)
    await asyncio.wait_for(new, 30)


async def test_who_goes_away_while_it_asks_leaves_the_others_an_answer() -> None:
    quorum = SlowQuorum()
    barrier = SharedBarrier(quorum)
    goes, stays = (asyncio.create_task(barrier.passed()) for _ in range(2))
    await turns()
    goes.cancel()
    await turns()
    quorum.answers[-1].set_result(None)
    await asyncio.wait_for(stays, 30)
    assert len(quorum.answers) == 2
