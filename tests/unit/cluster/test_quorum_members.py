"""Members of the quorum come, go, lose their directories, and hand the leadership over."""

from asyncio import get_running_loop
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cluster.settings import ClusterSettings
from model.errors import ErrorCode, Outcome, RequestError
from tests.quorum import turns
from tests.quorum_world import Host, QuorumWorld, create, identity, refused

SNAPSHOTS = ClusterSettings(quorum_snapshot_entries=5, quorum_file_bytes=1_024)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[QuorumWorld]:
    made = QuorumWorld()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def small() -> AsyncIterator[QuorumWorld]:
    made = QuorumWorld(settings=SNAPSHOTS)
    yield made
    await made.close()


async def test_a_node_that_joins_learns_then_votes(small: QuorumWorld) -> None:
    leader = await small.formed()
    for number in range(20):
        await small.done(leader.quorum.propose(create(f"t{number}")))
    fourth = Host(small, identity(4), leader.quorum.configuration.voters)
    small.hosts[fourth.me.node] = fourth
    await fourth.start()
    await small.ticks(15)
    assert fourth.topics == set()
    await small.done(leader.quorum.admit(fourth.me))
    await small.agreed()
    assert len(fourth.topics) == 20
    assert fourth.me in leader.quorum.configuration.learners
    with pytest.raises(RequestError) as error:
        await small.done(leader.quorum.change_voters((fourth.me.node,), ()))
    assert error.value.code is ErrorCode.UNKNOWN_BROKER
    await small.register(leader, fourth)
    old = small.others(leader)[0]
    await small.done(leader.quorum.change_voters((fourth.me.node,), (old.me.node,)))
    assert {voter.node for voter in leader.quorum.configuration.voters} == (
        {1, 2, 3, 4} - {old.me.node}
    )
    assert leader.quorum.configuration.learners == (old.me,)
    await old.kill()
    await leader.kill()
    second = await small.leader()
    await small.done(second.quorum.propose(create("after")))
    assert "after" in (await small.agreed()).topics


async def test_a_node_that_lost_its_directory_is_another_member(world: QuorumWorld) -> None:
    leader = await world.formed()
    lost = world.others(leader)[0]
    await lost.kill()
    again = Host(world, identity(lost.me.node, directory=9), leader.quorum.configuration.voters)
    world.hosts[again.me.node] = again
    await again.start()
    await world.ticks(15)
    assert again.quorum.image.applied == 0
    with pytest.raises(RequestError) as error:
        await world.done(leader.quorum.admit(again.me))
    assert error.value.code is ErrorCode.DUPLICATE_VOTER
    await world.done(leader.quorum.admit(again.me, replaces=True))
    assert again.me in leader.quorum.configuration.learners
    assert lost.me not in leader.quorum.configuration.members
    await world.register(leader, again)
    await world.done(leader.quorum.change_voters((again.me.node,), ()))
    assert again.me in leader.quorum.configuration.voters
    await world.agreed()


async def test_a_lone_node_grows_into_a_quorum() -> None:
    world = QuorumWorld(1)
    try:
        leader = await world.formed()
        await world.done(leader.quorum.propose(create("orders")))
        assert world.clock.next_timer() is None
        for node in (2, 3):
            host = Host(world, identity(node), (leader.me,))
            world.hosts[host.me.node] = host
            await host.start()
            await world.done(leader.quorum.admit(host.me))
            await world.register(leader, host)
            await world.done(leader.quorum.change_voters((host.me.node,), ()))
        await world.agreed()
        await leader.kill()
        second = await world.leader()
        assert second.topics == {"orders"}
    finally:
        await world.close()


async def test_the_leadership_is_handed_over(world: QuorumWorld) -> None:
    leader = await world.formed()
    to = world.others(leader)[1]
    for number in range(3):
        await world.done(leader.quorum.propose(create(f"t{number}")))
    handing = get_running_loop().create_task(leader.quorum.transfer_leadership(to.me.node))
    await turns(1)
    waiting = get_running_loop().create_task(refused(world, leader.quorum, "late"))
    await world.ticks(2)
    await handing
    error = await waiting
    assert error.code in {ErrorCode.NOT_LEADER, ErrorCode.NO_QUORUM}
    assert error.code.outcome is Outcome.NOT_DONE
    assert await world.leader() is to
    assert "late" not in to.topics


async def test_a_transfer_that_fails_leaves_the_leader_leading(world: QuorumWorld) -> None:
    leader = await world.formed()
    to = world.others(leader)[0]
    await to.kill()
    with pytest.raises(RequestError) as error:
        await world.done(leader.quorum.transfer_leadership(to.me.node))
    assert error.value.code is ErrorCode.REQUEST_TIMED_OUT
    assert (await world.done(leader.quorum.propose(create("orders")))).name == "orders"
