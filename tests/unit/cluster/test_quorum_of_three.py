"""The quorum of three nodes: who decides, what is told of it, and what is left after losses."""

import errno
from asyncio import get_running_loop
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import pytest_asyncio

from api.sim.faults import Fault, Operation
from cluster.controller.request import Circumstances
from cluster.controller.topics import CreateTopic, DeleteTopic
from cluster.peer.hello import Hello
from cluster.peer.table import parse
from cluster.raft.entry_log import DIRECTORY
from cluster.raft.message_frames import encode
from cluster.raft.messages import Heartbeat
from cluster.settings import ClusterSettings
from cluster.shell.raft_wire import receiver
from model.errors import ErrorCode, MalformedError, Outcome, RequestError, StorageFailed
from model.ids import Index, NodeId, Term
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


async def test_what_one_decides_all_show(world: QuorumWorld) -> None:
    leader = await world.formed()
    await world.done(leader.quorum.propose(create("orders")))
    image = await world.agreed()
    assert set(image.topics) == {"orders"}
    assert set(image.brokers) == {1, 2, 3}
    for host in world.hosts.values():
        assert host.quorum.leader == leader.me.node
        assert host.quorum.leads is (host is leader)
        assert host.leaders[-1] == (leader.quorum.term, leader.me.node, host is leader)


async def test_who_does_not_lead_names_who_does(world: QuorumWorld) -> None:
    leader = await world.formed()
    for host in world.others(leader):
        error = await refused(world, host.quorum, "orders")
        assert (error.code, error.code.outcome) == (ErrorCode.NOT_LEADER, Outcome.NOT_DONE)
        assert error.metadata == {"leader": str(leader.me.node)}


async def test_without_a_majority_nobody_decides(world: QuorumWorld) -> None:
    leader = await world.formed()
    lonely, gone = world.others(leader)
    await leader.kill()
    await gone.kill()
    await world.ticks(15)
    for asked in (lonely.quorum.propose(create("orders")), lonely.quorum.read_barrier()):
        with pytest.raises(RequestError) as error:
            await world.done(asked)
        assert (error.value.code, error.value.code.outcome) == (
            ErrorCode.NO_QUORUM,
            Outcome.NOT_DONE,
        )


async def test_a_leader_that_dies_takes_nothing_with_it(world: QuorumWorld) -> None:
    leader = await world.formed()
    await world.done(leader.quorum.propose(create("before")))
    await leader.kill(power=True)
    second = await world.leader()
    await world.done(second.quorum.propose(create("after")))
    await leader.start()
    image = await world.agreed()
    assert set(image.topics) == {"before", "after"}
    assert second.quorum.term > 1


async def test_a_death_that_is_told_needs_no_timeout(world: QuorumWorld) -> None:
    leader = await world.formed()
    await leader.kill()
    for host in world.others(leader):
        host.quorum.peer_gone(leader.me.node)
    await turns(60)
    assert sum(host.quorum.leads for host in world.others(leader)) == 1


async def test_a_leader_cut_off_does_not_know_what_became_of_it(world: QuorumWorld) -> None:
    leader = await world.formed()
    before = leader.quorum.image
    world.cut_off(leader.me.node)
    taken = get_running_loop().create_task(refused(world, leader.quorum, "orders"))
    await turns()
    rests = get_running_loop().create_task(refused(world, leader.quorum, "orders"))
    await world.ticks(20)
    unknown, not_done = await taken, await rests
    assert (unknown.code, unknown.code.outcome) == (ErrorCode.LEADERSHIP_LOST, Outcome.UNKNOWN)
    assert (not_done.code, not_done.code.outcome) == (ErrorCode.NO_QUORUM, Outcome.NOT_DONE)
    assert leader.quorum.image is before
    assert not leader.quorum.leads
    second = await world.leader(among=world.others(leader))
    await world.done(second.quorum.propose(create("others")))
    world.mend()
    image = await world.agreed()
    assert set(image.topics) == {"others"}
    assert all("orders" not in image.topics for image in leader.shadow.images)


async def test_the_next_decisions_rest_on_the_log_and_not_on_what_was_thrown_away(
    world: QuorumWorld,
) -> None:
    first = await world.formed()
    world.cut_off(first.me.node)
    lost = get_running_loop().create_task(refused(world, first.quorum, "orders"))
    await world.ticks(20)
    assert (await lost).code is ErrorCode.LEADERSHIP_LOST
    await world.leader(among=world.others(first))
    world.mend()
    await world.agreed()
    second = await world.leader()
    await world.done(second.quorum.transfer_leadership(first.me.node))
    assert await world.leader() is first
    assert (await world.done(first.quorum.propose(create("orders")))).name == "orders"
    assert set((await world.agreed()).topics) == {"orders"}


async def test_what_was_appended_and_reached_others_may_be_decided(world: QuorumWorld) -> None:
    leader = await world.formed()
    for other in world.others(leader):  # they hear, and are not heard
        world.cuts.add((other.me.node, leader.me.node))
    error = get_running_loop().create_task(refused(world, leader.quorum, "orders"))
    await world.ticks(20)
    assert (await error).code is ErrorCode.LEADERSHIP_LOST
    world.mend()
    await world.leader()
    assert set((await world.agreed()).topics) == {"orders"}


async def test_a_new_leader_decides_on_all_that_was_decided(world: QuorumWorld) -> None:
    leader = await world.formed()
    await world.done(leader.quorum.propose(create("orders")))
    world.cut_off(leader.me.node)
    second = await world.leader(among=world.others(leader))
    error = await refused(world, second.quorum, "orders")
    assert error.code is ErrorCode.TOPIC_ALREADY_EXISTS


async def test_proposals_wait_for_a_leader_that_has_just_begun(world: QuorumWorld) -> None:
    leader = await world.formed()
    await leader.kill()
    others = world.others(leader)
    for host in others:
        host.quorum.peer_gone(leader.me.node)
    began: list[Host] = []
    while not began:  # ends at pytest's timeout if nobody is elected
        await turns(1)
        began = [host for host in others if host.quorum._node.leadership is not None]
    assert not began[0].quorum.leads
    assert (await world.done(began[0].quorum.propose(create("orders")))).name == "orders"


async def test_a_read_on_any_node_shows_what_was_answered(world: QuorumWorld) -> None:
    leader = await world.formed()
    for number in range(3):
        await world.done(leader.quorum.propose(create(f"t{number}")))
        for host in world.hosts.values():
            await world.done(host.quorum.read_barrier())
            assert f"t{number}" in host.topics


async def test_a_read_that_nobody_confirms_is_refused(world: QuorumWorld) -> None:
    leader = await world.formed()
    for host in world.hosts.values():
        world.cut_off(host.me.node)
    for host in (leader, *world.others(leader)):
        with pytest.raises(RequestError) as error:
            await world.done(host.quorum.read_barrier())
        assert error.value.code is ErrorCode.NO_QUORUM


async def test_power_lost_by_all_at_once_loses_nothing(world: QuorumWorld) -> None:
    leader = await world.formed()
    await world.done(leader.quorum.propose(create("orders")))
    for host in world.hosts.values():
        await host.kill(power=True)
    await world.start()
    await world.leader()
    assert set((await world.agreed()).topics) == {"orders"}


async def test_a_snapshot_of_the_leader_stands_for_the_log_that_is_gone(small: QuorumWorld) -> None:
    leader = await small.formed()
    late = small.others(leader)[0]
    await small.done(leader.quorum.propose(create("gone")))
    await small.agreed()
    await late.kill()
    await small.done(leader.quorum.propose(DeleteTopic(name="gone")))
    for number in range(30):
        await small.done(leader.quorum.propose(create(f"t{number}")))
    await late.start()
    assert "gone" in late.topics or late.quorum.image.applied < 10
    image = await small.agreed()
    assert set(image.topics) == {f"t{number}" for number in range(30)}
    applied = [image.applied for image in late.shadow.images]
    jumps = [after - before for before, after in pairwise(applied)]
    assert max(jumps) > 10
    await late.kill(power=True)
    await late.start()
    assert late.quorum.image.applied >= image.applied - 10
    await small.agreed()


async def test_a_loop_that_stood_still_begins_no_election(world: QuorumWorld) -> None:
    leader = await world.formed()
    term = leader.quorum.term
    for _ in range(5):
        world.clock.advance(20_000)
        await turns(20)
        now = world.clock.monotonic_ms()
        assert all(host.quorum._member._tick_at == now + 100 for host in world.hosts.values())
    assert leader.quorum.leads
    assert leader.quorum.term == term


async def test_ticks_keep_their_time_when_one_is_a_little_late(world: QuorumWorld) -> None:
    leader = await world.formed()
    start = world.clock.monotonic_ms()
    at = leader.quorum._member._tick_at
    world.clock.advance(at - start + 60)
    await turns(20)
    assert leader.quorum._member._tick_at == at + 100


async def test_a_leader_that_stops_without_its_quorum_comes_to_an_end(world: QuorumWorld) -> None:
    leader = await world.formed()
    for host in world.others(leader):
        await host.kill()
    taken = get_running_loop().create_task(refused(world, leader.quorum, "orders"))
    await turns()
    await leader.stop()
    assert (await taken).code is ErrorCode.LEADERSHIP_LOST


async def test_a_follower_stops_at_once(world: QuorumWorld) -> None:
    leader = await world.formed()
    follower = world.others(leader)[0]
    task = follower.task
    assert task is not None
    follower.quorum.stop()
    await turns()
    assert task.done()


async def test_a_disk_that_fails_takes_one_of_three(world: QuorumWorld) -> None:
    leader = await world.formed()
    broken = world.others(leader)[0]
    broken.disk.faults.add(Fault(Operation.SYNC, DIRECTORY, error=errno.EIO))
    assert (await world.done(leader.quorum.propose(create("orders")))).name == "orders"
    await world.ticks()
    assert broken.task is not None
    with pytest.raises(StorageFailed, match="EIO"):
        await broken.task
    broken.up = broken.task = None
    await world.agreed()


async def test_what_gathers_behind_a_slow_disk_is_one_job(world: QuorumWorld) -> None:
    leader = await world.formed()
    before = leader.runner.jobs
    leader.runner.hold()
    tasks = []
    for number in range(5):
        tasks.append(get_running_loop().create_task(leader.quorum.propose(create(f"t{number}"))))
        await turns(3)
    await turns(30)
    assert leader.runner.jobs == before + 1
    assert not any(task.done() for task in tasks)
    leader.runner.release()
    await turns(60)
    assert leader.runner.jobs == before + 2
    assert [(await task).name for task in tasks] == [f"t{number}" for number in range(5)]


async def test_nobody_hears_of_what_is_on_one_disk_only(world: QuorumWorld) -> None:
    leader = await world.formed()
    one, other = world.others(leader)
    one.runner.hold()
    other.runner.hold()
    task = get_running_loop().create_task(leader.quorum.propose(create("orders")))
    await turns(60)
    assert not task.done()
    assert not any(host.topics for host in world.hosts.values())
    one.runner.release()
    other.runner.release()
    await world.ticks(5)
    assert (await task).name == "orders"


async def test_decisions_know_whose_session_is_held(
    world: QuorumWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = await world.formed()
    seen: list[Circumstances] = []
    decide = leader.quorum._metadata.decide

    def spying(request: CreateTopic, circumstances: Circumstances) -> object:
        seen.append(circumstances)
        return decide(request, circumstances)

    monkeypatch.setattr(leader.quorum._metadata, "decide", spying)
    leader.quorum.judge_by(lambda: frozenset({NodeId(2)}))
    await world.done(leader.quorum.propose(create("orders")))
    assert [one.live for one in seen] == [{2}]


async def test_nobody_speaks_for_another() -> None:
    taken: list[object] = []
    receive = receiver(taken.append)
    two, three = identity(2), identity(3)
    frame = parse(encode(Heartbeat(two, three, Term(1), Index(0), round=0)), version=1)
    for node, directory in ((3, two.directory), (2, three.directory)):
        peer = Hello(NodeId(node), directory, bytes(16), bytes(32), "tide")
        with pytest.raises(MalformedError, match="says to be from node 2"):
            receive(peer, frame, None)
    receive(Hello(NodeId(2), two.directory, bytes(16), bytes(32), "tide"), frame, None)
    assert len(taken) == 1


@pytest.mark.parametrize(("election_ticks", "heartbeats"), [(3, 40), (7, 40), (8, 20), (40, 20)])
async def test_at_rest_a_leader_shows_itself_every_other_tick(
    election_ticks: int, heartbeats: int
) -> None:
    """Where the others are patient enough for it: each wakes two processes, and its own again."""
    world = QuorumWorld(settings=ClusterSettings(quorum_election_ticks=election_ticks))
    try:
        leader = await world.formed()
        await world.ticks(4)
        before = world.carried
        await world.ticks(40)
        assert world.carried - before == heartbeats * 2 * len(world.others(leader))
        assert {host.quorum.leader for host in world.hosts.values()} == {leader.me.node}
    finally:
        await world.close()
