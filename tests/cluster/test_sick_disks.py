"""One node's disk is full, or fails: the others go on, and what was acknowledged stays."""

import errno
from collections.abc import AsyncIterator

import pytest

from api.broker.acks import Produced
from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from cluster.controller.image import TopicImage
from cluster.controller.topics import CreateTopic, DeleteTopic
from model.errors import ErrorCode, Outcome, RequestError, StorageFailed
from model.principal import ANONYMOUS
from tests.cluster_nodes import Life, Nodes, ids

TOPIC = "orders"
KIB = 1 << 10
SMALL = 32_000 * KIB
"""A twentieth of it is kept in reserve."""


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    made.disks[1] = SimDisk(capacity_bytes=SMALL)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def led_by(nodes: Nodes, topic: str, number: int) -> Life:
    """Create a topic of three replicas whose leader is that node."""
    rest = [other for other in nodes.numbers if other != number]
    request = CreateTopic(name=topic, assignments=(ids(number, *rest),))
    (answer,) = await nodes.done(nodes.lives[1].node.broker.create_topics(ANONYMOUS, [request]))
    assert isinstance(answer, TopicImage), answer
    await nodes.until(lambda: all(topic in life.image.topics for life in nodes.lives.values()))
    await nodes.in_sync(topic)
    await nodes.until(lambda: nodes.leading(topic) is nodes.lives[number])
    return nodes.lives[number]


async def until_full(nodes: Nodes, life: Life, topic: str) -> list[bytes]:
    """Produce until the disk is full; return what was acknowledged."""
    stored: list[bytes] = []
    while True:
        value = b"%d" % len(stored) + bytes(500 * KIB)
        answer = await nodes.done(nodes.send(life, topic, [value]))
        if isinstance(answer, Produced):
            stored.append(value)
            assert len(stored) < 200, "it is never full"
            continue
        assert answer.code is ErrorCode.DISK_FULL
        assert (answer.code.outcome, answer.code.retryable) == (Outcome.NOT_DONE, True)
        return stored


async def same_everywhere(nodes: Nodes, topic: str) -> None:
    """Wait until all have what the leader has."""
    await nodes.in_sync(topic)
    held = (await nodes.leader(topic)).stored(topic)
    await nodes.until(lambda: all(life.stored(topic) == held for life in nodes.lives.values()))


async def test_a_full_leader_refuses_and_all_else_goes_on(nodes: Nodes) -> None:
    full = await led_by(nodes, TOPIC, 1)
    other = await led_by(nodes, "invoices", 2)
    await led_by(nodes, "old", 3)
    await nodes.produce(full, TOPIC, b"before")
    stored = await until_full(nodes, full, TOPIC)
    end = full.hosted(TOPIC).log.log_end
    assert end == 1 + len(stored), "what was refused was not written"
    assert len(full.stored(TOPIC)) == end, "reads go on"
    # Where the full disk only follows, two others are enough.
    for _ in range(40):
        await nodes.produce(other, "invoices", bytes(50 * KIB))
    await nodes.until(lambda: set(nodes.row("invoices", at=2).isr) == {2, 3})
    (gone,) = await nodes.done(full.node.broker.delete_topics(ANONYMOUS, [DeleteTopic(name="old")]))
    assert not isinstance(gone, RequestError)
    await nodes.pass_by(5_000)
    assert not full.failures
    nodes.disks[1].capacity_bytes = 10 * SMALL
    back = nodes.net.clock.monotonic_ms()
    await nodes.produce(full, TOPIC, b"after")
    assert nodes.net.clock.monotonic_ms() - back <= 30_000
    for topic in (TOPIC, "invoices"):
        await same_everywhere(nodes, topic)


@pytest.mark.parametrize("operation", [Operation.SYNC, Operation.WRITE])
async def test_a_leader_whose_journal_cannot_be_written_ends_and_another_leads(
    nodes: Nodes, operation: Operation
) -> None:
    sick = await led_by(nodes, TOPIC, 1)
    await nodes.produce(sick, TOPIC, b"before")
    nodes.expected.add("storage_failed")
    nodes.disks[1].faults.add(Fault(operation, "journal", errno.EIO, times=None))
    asked = nodes.send(sick, TOPIC, [b"in between"])
    with pytest.raises(StorageFailed) as ended:  # with it the process ends: exit 11
        await nodes.until(lambda: False)
    assert (ended.value.errno, ended.value.file.startswith("journal/")) == (errno.EIO, True)
    (told,) = [fields["error"] for event, fields in sick.lines if event == "storage_failed"]
    assert "journal/" in str(told)
    await nodes.kill(1)
    answer = asked.result() if asked.done() else None
    if isinstance(answer, RequestError):
        assert answer.code.outcome is Outcome.UNKNOWN, "the others may have it"
    leader = await nodes.leader(TOPIC)
    await nodes.produce(leader, TOPIC, b"after")
    nodes.disks[1].faults.clear()
    await nodes.start(1)
    await nodes.in_sync(TOPIC)
    held = leader.stored(TOPIC)
    assert len(held) in ({3} if isinstance(answer, Produced) else {2, 3})
    assert all(life.stored(TOPIC) == held for life in nodes.lives.values())
