"""What members know of the quorum, and that nobody takes the vote without which nothing goes on."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from model.errors import ErrorCode, Outcome, RequestError
from tests.quorum_world import QuorumWorld, create


@pytest_asyncio.fixture
async def world() -> AsyncIterator[QuorumWorld]:
    made = QuorumWorld()
    yield made
    await made.close()


async def test_the_leader_knows_how_far_everybody_is(world: QuorumWorld) -> None:
    leader = await world.formed()
    await world.done(leader.quorum.propose(create("orders")))
    await world.ticks(2)
    status = leader.quorum.status
    assert status.leader == leader.me.node
    assert [one.node for one in status.voters] == [1, 2, 3]
    assert {one.matched for one in status.members} == {status.committed}
    assert all(one.is_heard and one.silent_ms in {0, 100} for one in status.members)
    assert status.unheard == ()


async def test_who_follows_knows_nothing_of_the_others(world: QuorumWorld) -> None:
    leader = await world.formed()
    status = world.others(leader)[0].quorum.status
    assert status.leader == leader.me.node
    assert {(one.matched, one.silent_ms) for one in status.members} == {(None, None)}


async def test_who_is_silent_is_not_heard_until_it_speaks_again(world: QuorumWorld) -> None:
    leader = await world.formed()
    silent = world.others(leader)[1]
    world.cut_off(silent.me.node)
    await world.ticks(5)
    (one,) = [one for one in leader.quorum.status.members if one.node == silent.me.node]
    assert one.is_heard and one.silent_ms is not None and one.silent_ms >= 400
    await world.ticks(10)
    assert leader.quorum.status.unheard == (silent.me.node,)
    world.mend()
    await world.ticks(3)
    assert not leader.quorum.status.unheard


async def test_the_last_majority_is_not_taken(world: QuorumWorld) -> None:
    """The quorum of those that are left counts at once: nobody could commit even its beginning."""
    leader = await world.formed()
    alive, dead = world.others(leader)
    await dead.kill()
    await world.ticks(10)
    with pytest.raises(RequestError) as error:
        await world.done(leader.quorum.change_voters((), (alive.me.node,)))
    assert error.value.code is ErrorCode.POLICY_VIOLATION
    assert error.value.code.outcome is Outcome.NOT_DONE
    assert error.value.metadata["rest"] == f"{leader.me.node}, {dead.me.node}" or (
        error.value.metadata["rest"] == f"{dead.me.node}, {leader.me.node}"
    )
    assert alive.me in leader.quorum.configuration.voters
    await world.done(leader.quorum.propose(create("orders")))


async def test_who_is_dead_may_lose_its_vote(world: QuorumWorld) -> None:
    leader = await world.formed()
    alive, dead = world.others(leader)
    await dead.kill()
    await world.ticks(10)
    await world.done(leader.quorum.change_voters((), (dead.me.node,)))
    assert set(leader.quorum.configuration.voters) == {leader.me, alive.me}
    await world.done(leader.quorum.propose(create("orders")))
    with pytest.raises(RequestError) as error:
        await world.done(leader.quorum.change_voters((), (dead.me.node,)))
    assert error.value.code is ErrorCode.UNKNOWN_VOTER
