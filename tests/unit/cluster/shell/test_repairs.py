"""What other replicas are given for theirs: whole batches that are committed, and nothing else."""

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.peer.repair import PART_BYTES_MAX, AskBatches, BatchesPart, encode_part
from cluster.peer.table import parse
from cluster.shell.peer_repairs import PeerRepairs
from cluster.shell.repairs import Repairs
from model.errors import ErrorCode, RequestError
from model.ids import Offset, PartitionId, Position, TopicId
from tests.peer_frames import BATCHES_PART
from tests.replica_cluster import ONE, THREE, TWO, Cluster
from tests.replica_process import PLACE, Process

RECORDS = 6


def filled() -> Cluster:
    """Return three nodes that hold the same, in their files alone."""
    world = Cluster()
    for number in range(RECORDS):
        world.nodes[ONE].append(b"%d" % number)
        world.run()
    world.pass_time(500)
    for process in world.nodes.values():
        process.log.sync()
        process.writer.ask()
        world.run()
    return world


def asked(
    process: Process, start: int, end: int = RECORDS, *, size: int = PART_BYTES_MAX
) -> BatchesPart | RequestError:
    """Return what a node answers."""
    doors: Any = SimpleNamespace(read_pool=_Pool(), writer=process.writer)
    told: list[BatchesPart | RequestError] = []
    ask = AskBatches(PLACE, Offset(start), Offset(end), size)
    Repairs(doors, process.partitions).serve(ask, told.append)
    (answer,) = told
    return answer


class _Pool:
    """Does what it is given at once."""

    def submit(self, job: Any, done: Any, failed: Any) -> None:
        try:
            result = job()
        except Exception as error:  # noqa: BLE001 - carried on, as a thread does
            failed(error)
        else:
            done(result)


@pytest.mark.parametrize("node", [ONE, TWO, THREE])
def test_leader_and_followers_give_the_same(node: Any) -> None:
    world = filled()
    answer = asked(world.nodes[node], 0)
    assert isinstance(answer, BatchesPart)
    assert (answer.start, answer.end) == (0, RECORDS)
    assert [bytes(batch.raw) for batch in answer.batches] == world.nodes[ONE].stored()
    assert [batch.append_time for batch in answer.batches] == world.nodes[ONE].times()


def test_no_more_than_was_asked_for_and_at_least_one() -> None:
    world = filled()
    answer = asked(world.nodes[TWO], 2, 5, size=1)
    assert isinstance(answer, BatchesPart)
    assert (answer.start, answer.end, len(answer.batches)) == (2, 3, 1)
    answer = asked(world.nodes[TWO], 2, 5)
    assert isinstance(answer, BatchesPart)
    assert (answer.start, answer.end) == (2, 5)


def code(answer: BatchesPart | RequestError) -> ErrorCode:
    assert isinstance(answer, RequestError), answer
    return answer.code


def test_what_is_not_committed_is_not_given() -> None:
    world = filled()
    world.cut(ONE, TWO)
    world.cut(ONE, THREE)
    world.nodes[ONE].append(b"alone")
    world.run()
    assert world.nodes[ONE].log.log_end == RECORDS + 1
    assert code(asked(world.nodes[ONE], RECORDS, RECORDS + 1)) is ErrorCode.OFFSET_NOT_AVAILABLE
    answer = asked(world.nodes[ONE], 0, RECORDS + 1)
    assert isinstance(answer, BatchesPart)
    assert answer.end == RECORDS


def test_what_is_damaged_is_not_given_and_noted() -> None:
    world = filled()
    log = world.nodes[TWO].log
    world.disks[TWO].flip_bit(log.segment_list[0].log_name, Position(65), 1)
    log.segment_list[0].reader = None
    assert code(asked(world.nodes[TWO], 0)) is ErrorCode.CORRUPT_LOG
    assert log.segment_list[0].damage


def test_a_partition_that_is_not_here_is_refused() -> None:
    world = filled()
    doors: Any = SimpleNamespace(read_pool=_Pool(), writer=None)
    told: list[BatchesPart | RequestError] = []
    ask = AskBatches(PartitionId(TopicId(bytes(16)), 9), Offset(0), Offset(1), 1)
    Repairs(doors, world.nodes[ONE].partitions).serve(ask, told.append)
    assert code(told[0]) is ErrorCode.UNKNOWN_PARTITION


def test_only_what_asks_comes_to_the_route() -> None:
    links: Any = SimpleNamespace(route=lambda family, handler: None)
    repairs = PeerRepairs(links)
    frame = b"".join(map(bytes, encode_part(BATCHES_PART, correlation=7)))
    nobody: Any = None
    with pytest.raises(AssertionError, match="REPAIR_FRAMES_ASK"):
        repairs._receive(nobody, parse(frame, version=1), nobody)
