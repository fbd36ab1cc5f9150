"""The quorum that is one node: who is answered when, and what a restart finds."""

import errno
from asyncio import CancelledError, TaskGroup, get_running_loop

import pytest

from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from cluster.controller.brokers import FormCluster, RegisterBroker
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.producer_ids import AllocateProducerIds
from cluster.controller.topics import CreateTopic, DeleteTopic
from cluster.raft.entry_log import DIRECTORY
from cluster.settings import ClusterSettings
from cluster.shell import raft_quorum
from cluster.shell.raft_quorum import RaftQuorum
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import NodeId
from tests.quorum import DIRECTORY_UUID, NODE, REGISTER, Runner, open_voter, running, turns


def create(name: str, **settings: str) -> CreateTopic:
    return CreateTopic(name=name, config=settings)


async def refusal(voter: RaftQuorum, request: CreateTopic) -> ErrorCode:
    with pytest.raises(RequestError) as refused:
        await voter.propose(request)
    return refused.value.code


async def test_what_was_answered_is_there_after_a_power_cut() -> None:
    disk = SimDisk()
    voter = await open_voter(disk)
    async with running(voter):
        assert await voter.propose(FormCluster(cluster_id="tide")) == "tide"
        await voter.propose(REGISTER)
        topic = await voter.propose(create("orders"))
        block = await voter.propose(AllocateProducerIds(node=NODE))
        assert voter.image.topics["orders"] == topic  # type: ignore[index]
        before = voter.image
        disk.power_cut(lambda pending: pending.nothing)
    again = await open_voter(disk)
    assert (again.image.topics, again.image.brokers) == (before.topics, before.brokers)
    assert again.image.cluster_id == "tide"
    assert again.image.next_producer_id == block.first + block.count
    assert again.image.topics_by_id[topic.topic_id] is again.image.topics[topic.name]


async def test_each_start_is_a_new_term_before_anything_is_answered() -> None:
    disk = SimDisk()
    terms = []
    for _ in range(3):
        voter = await open_voter(disk)
        terms.append(voter.term)
        disk.power_cut(lambda pending: pending.nothing)
    assert terms == [1, 2, 3]


async def test_nobody_hears_before_the_sync_and_those_who_gather_share_the_next() -> None:
    runner = Runner()
    voter = await open_voter(SimDisk(), runner=runner)
    shown: list[int] = []
    voter.subscribe(lambda image, _: shown.append(len(image.topics)))
    async with running(voter), TaskGroup() as group:
        await voter.propose(REGISTER)
        before = runner.jobs
        runner.hold()
        first = group.create_task(voter.propose(create("t0")))
        await turns()
        others = [group.create_task(voter.propose(create(f"t{n}"))) for n in range(1, 6)]
        await turns()
        assert runner.jobs == before + 1
        assert not any(task.done() for task in (first, *others))
        assert not voter.image.topics
        runner.release()
        await turns()
        assert runner.jobs == before + 2
        assert [task.result().name for task in (first, *others)] == [f"t{n}" for n in range(6)]
        assert shown == [0, 1, 6]


async def test_a_refusal_waits_for_what_it_rests_on() -> None:
    runner = Runner()
    voter = await open_voter(SimDisk(), runner=runner)
    async with running(voter), TaskGroup() as group:
        await voter.propose(REGISTER)
        runner.hold()
        created = group.create_task(voter.propose(create("orders")))
        await turns()
        again = group.create_task(refusal(voter, create("orders")))
        await turns()
        waits = not again.done()
        runner.release()
        assert await again is ErrorCode.TOPIC_ALREADY_EXISTS
        assert created.done()
        assert waits


async def test_a_read_waits_for_what_was_answered_and_for_nothing_else() -> None:
    runner = Runner()
    voter = await open_voter(SimDisk(), runner=runner)
    async with running(voter), TaskGroup() as group:
        await voter.propose(REGISTER)
        runner.hold()
        created = group.create_task(voter.propose(create("orders")))
        await turns()
        read = group.create_task(voter.read_barrier())
        await turns()
        told = read.done(), created.done()
        runner.release()
        assert told == (True, False)


async def test_listeners_see_each_round_before_its_answers() -> None:
    voter = await open_voter(SimDisk())
    seen: list[str] = []

    def listen(image: MetadataImage, delta: MetadataDelta) -> None:
        assert image is voter.image
        seen.extend(f"+{topic.name}" for topic in delta.created)
        seen.extend(f"~{topic.name}" for topic in delta.changed)
        seen.extend("-" for _ in delta.deleted)

    voter.subscribe(listen)
    async with running(voter):
        await voter.propose(REGISTER)
        await voter.propose(create("orders"))
        assert seen == ["+orders"]
        await voter.propose(DeleteTopic(name="orders"))
        assert seen == ["+orders", "-"]


@pytest.mark.parametrize("operation", [Operation.WRITE, Operation.SYNC])
async def test_a_disk_that_fails_ends_the_quorum(operation: Operation) -> None:
    disk = SimDisk()
    voter = await open_voter(disk)
    task = get_running_loop().create_task(voter.run())
    await voter.propose(REGISTER)
    disk.faults.add(Fault(operation, DIRECTORY, error=errno.EIO))
    assert await refusal(voter, create("orders")) is ErrorCode.STORAGE_ERROR
    with pytest.raises(StorageFailed, match="EIO"):
        await task
    assert await refusal(voter, create("other")) is ErrorCode.STORAGE_ERROR
    assert not voter.image.topics


async def test_a_disk_that_fails_at_the_start_is_told_as_such() -> None:
    disk = SimDisk()
    disk.faults.add(Fault(Operation.SYNC, DIRECTORY, error=errno.EIO))
    with pytest.raises(StorageFailed, match="EIO"):
        await open_voter(disk)


async def test_stopping_answers_what_was_taken_and_takes_no_more() -> None:
    runner = Runner()
    voter = await open_voter(SimDisk(), runner=runner)
    async with running(voter), TaskGroup() as group:
        await voter.propose(REGISTER)
        runner.hold()
        taken = group.create_task(voter.propose(create("orders")))
        await turns()
        voter.stop()
        assert await refusal(voter, create("late")) is ErrorCode.SHUTTING_DOWN
        runner.release()
        assert (await taken).name == "orders"
    assert await refusal(voter, create("later")) is ErrorCode.SHUTTING_DOWN


async def test_a_run_that_is_cancelled_leaves_an_unknown_outcome() -> None:
    runner = Runner()
    voter = await open_voter(SimDisk(), runner=runner)
    task = get_running_loop().create_task(voter.run())
    await voter.propose(REGISTER)
    runner.hold()
    waiting = get_running_loop().create_task(refusal(voter, create("orders")))
    await turns()
    task.cancel()
    with pytest.raises(CancelledError):
        await task
    assert await waiting is ErrorCode.LEADERSHIP_LOST
    assert ErrorCode.LEADERSHIP_LOST.outcome.value == "unknown"


async def test_an_asker_that_goes_away_changes_nothing() -> None:
    runner = Runner()
    voter = await open_voter(SimDisk(), runner=runner)
    async with running(voter), TaskGroup() as group:
        await voter.propose(REGISTER)
        runner.hold()
        gone = group.create_task(voter.propose(create("orders")))
        await turns()
        gone.cancel()
        runner.release()
        await voter.propose(create("others"))
        assert sorted(voter.image.topics) == ["orders", "others"]


async def test_too_many_who_wait_are_refused() -> None:
    runner = Runner()
    voter = await open_voter(
        SimDisk(), runner=runner, settings=ClusterSettings(quorum_proposals_max=2)
    )
    async with running(voter), TaskGroup() as group:
        await voter.propose(REGISTER)
        runner.hold()
        waiting = [group.create_task(voter.propose(create(f"t{n}"))) for n in range(2)]
        await turns()
        assert await refusal(voter, create("t2")) is ErrorCode.OVERLOADED
        runner.release()
        for task in waiting:
            await task
        await voter.propose(create("t2"))


async def test_a_bug_in_the_machine_is_shown_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimDisk()
    voter = await open_voter(disk)
    task = get_running_loop().create_task(voter.run())
    await voter.propose(REGISTER)

    def broken(*_: object) -> None:
        raise AssertionError("METADATA_TOPIC_EXISTS")

    monkeypatch.setattr(voter._metadata._machine, "replay", broken)
    with pytest.raises(AssertionError, match="METADATA_TOPIC_EXISTS"):
        await voter.propose(create("orders"))
    assert await refusal(voter, create("other")) is ErrorCode.INTERNAL
    with pytest.raises(AssertionError, match="QUORUM_STATE_IS_THE_LOGS"):
        await task  # and with it the node: it would lead on without a quorum
    monkeypatch.undo()
    assert not (await open_voter(disk)).image.topics


async def test_snapshots_replace_the_log_and_restore_everything() -> None:
    disk = SimDisk()
    settings = ClusterSettings(quorum_snapshot_entries=7, quorum_file_bytes=1_024)
    voter = await open_voter(disk, settings=settings)
    async with running(voter):
        await voter.propose(FormCluster(cluster_id="tide"))
        await voter.propose(REGISTER)
        for number in range(20):
            await voter.propose(create(f"t{number}", **{"retention.ms": str(number)}))
        for number in range(0, 20, 3):
            await voter.propose(DeleteTopic(name=f"t{number}"))
        await voter.propose(AllocateProducerIds(node=NODE))
        before = voter.image
    names = disk.list(DIRECTORY)
    assert sum(name.endswith(".snapshot") for name in names) == 1
    assert len(names) <= 3
    again = await open_voter(disk, settings=settings)
    for part in ("topics", "topics_by_id", "brokers", "deleted", "cluster_id", "next_producer_id"):
        assert getattr(again.image, part) == getattr(before, part)
    assert len(before.deleted) == 7
    async with running(again):
        await again.propose(create("t0"))
        assert (await again.propose(AllocateProducerIds(node=NODE))).first == 1_000


async def test_an_unclean_start_begins_new_leader_epochs_and_a_clean_one_does_not() -> None:
    disk = SimDisk()
    voter = await open_voter(disk)
    async with running(voter):
        await voter.propose(REGISTER)
        await voter.propose(CreateTopic(name="orders", partitions=3))
        epochs = []
        for clean in (False, True, False):
            start = RegisterBroker(node=NODE, directory=DIRECTORY_UUID, clean=clean)
            broker = await voter.propose(start)
            (topic,) = voter.image.topics.values()
            led = {partition.leader_epoch for partition in topic.partitions}
            epochs.append((broker.registration_epoch, *led))
    assert epochs == [(2, 1), (3, 1), (4, 2)]


async def test_nobody_is_there_to_lead_instead() -> None:
    voter = await open_voter(SimDisk())
    async with running(voter):
        await voter.propose(REGISTER)
        await voter.transfer_leadership(NODE)
        for refused, code in [
            (voter.transfer_leadership(NodeId(1)), ErrorCode.UNKNOWN_VOTER),
            (voter.change_voters((NodeId(1),), ()), ErrorCode.UNKNOWN_BROKER),
            (voter.change_voters((), (NodeId(1),)), ErrorCode.UNKNOWN_VOTER),
            (voter.change_voters((), (NODE,)), ErrorCode.INVALID_REQUEST),
        ]:
            with pytest.raises(RequestError) as error:
                await refused
            assert error.value.code is code
        assert (voter.leads, voter.leader) == (True, NODE)


async def test_a_decision_that_fits_no_entry_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    voter = await open_voter(SimDisk())
    async with running(voter):
        await voter.propose(REGISTER)
        monkeypatch.setattr(raft_quorum, "PAYLOAD_BYTES_MAX", 100)
        with pytest.raises(RequestError, match=r"takes 1[0-9][0-9] bytes of the metadata log"):
            await voter.propose(create("orders", **{"retention.ms": "1", "segment.ms": "7"}))
        monkeypatch.undo()
        await voter.propose(create("orders"))


async def test_a_node_alone_sets_no_timer() -> None:
    voter = await open_voter(SimDisk())
    clock = voter._doors.clock
    assert isinstance(clock, SimClock)
    async with running(voter):
        await voter.propose(REGISTER)
        assert clock.next_timer() is None


async def test_a_round_that_ends_below_the_one_before_is_a_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    voter = await open_voter(SimDisk())
    task = get_running_loop().create_task(voter.run())
    await voter.propose(REGISTER)
    older = voter.image
    monkeypatch.setattr(voter._metadata._machine, "freeze", lambda _: (older, MetadataDelta()))
    assert await refusal(voter, create("orders")) is ErrorCode.LEADERSHIP_LOST
    with pytest.raises(AssertionError, match="QUORUM_DURABLE_NEVER_FALLS"):
        await task


async def test_one_task_carries_the_rounds() -> None:
    voter = await open_voter(SimDisk())
    async with running(voter):
        await turns()
        with pytest.raises(AssertionError, match="QUORUM_RUNS_ONCE"):
            await voter.run()
