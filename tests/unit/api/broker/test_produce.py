"""Appending: when the answer comes, what is refused, and what a repetition is told."""

import asyncio
import errno
from collections.abc import Callable
from dataclasses import replace

import pytest

from api.broker.acks import Acks, Done, Produced
from api.kafka.apis import served_apis
from api.kafka_settings import KafkaSettings
from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from bench.requests import kafka_request
from cluster.controller.image import MetadataDelta
from cluster.replication.high_watermark import CommitRule
from cluster.shell.hosted_partition import HostedPartition
from logstore.settings import Flush
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import MonotonicMs
from model.principal import ANONYMOUS
from tests.broker_node import MEMORY_BYTES, NOON, BrokerNode, batch_of, broker_node
from tests.kafka_door import Script


def arrive(
    node: BrokerNode,
    partition: HostedPartition,
    batch: bytes,
    *,
    tell: Done,
    acks: Acks = Acks.ALL,
) -> None:
    """Hand a batch over as a door does: it waits for the end of the tick."""
    node.broker.produce(
        ANONYMOUS, partition, memoryview(batch), acks=acks, timeout_ms=60_000, done=tell
    )


async def test_an_answer_has_the_true_offset_and_the_append_time() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        first = await node.produce(orders, batch_of([b"a", b"b"]))
        second = await node.produce(orders, batch_of([b"c"]))
        assert (first.base_offset, second.base_offset) == (0, 2)
        assert first.append_time is not None
        assert first.append_time % 10 == 0
        assert abs(first.append_time - NOON) < 1_000
        assert orders.high_watermark == 3
        assert node.node.memory.taken_bytes == 0


async def test_without_acks_the_answer_comes_at_once_and_tells_no_place() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        answer = node.begin(orders, batch_of([b"a"]), acks=Acks.NONE)
        assert answer.done()
        told = answer.result()
        assert isinstance(told, Produced)
        assert told.base_offset is None
        assert told.append_time is None
        await node.node.settle()
        assert orders.high_watermark == 1


@pytest.mark.parametrize("acks", [Acks.LEADER, Acks.ALL])
async def test_an_ack_waits_for_the_disk(acks: Acks) -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        answer = node.begin(orders, batch_of([b"a"]), acks=acks)
        assert not answer.done()
        assert orders.high_watermark == 0
        assert isinstance(await answer, Produced)


async def test_what_arrives_in_a_tick_is_accepted_in_its_order() -> None:
    """Each hears of its own place, refusals and repetitions between them change nothing."""
    async with broker_node() as node:
        orders = await node.create("orders")
        sent = [
            (batch_of([b"a", b"b"]), Acks.ALL),
            (batch_of([b"c"])[:-1], Acks.ALL),
            (batch_of([b"d"], producer=(7, 0, 0)), Acks.ALL),
            (batch_of([b"e"]), Acks.LEADER),
            (batch_of([b"d"], producer=(7, 0, 0)), Acks.ALL),
            (batch_of([b"f"], producer=(7, 0, 5)), Acks.ALL),
            (batch_of([b"g"], producer=(7, 0, 1)), Acks.ALL),
            (batch_of([b"h"]), Acks.NONE),
            (batch_of([b"i"]), Acks.ALL),
        ]
        answers = [asyncio.get_running_loop().create_future() for _ in sent]
        for (batch, acks), answer in zip(sent, answers, strict=True):
            records, tell = memoryview(bytearray(batch)), answer.set_result
            node.broker.produce(ANONYMOUS, orders, records, acks=acks, timeout_ms=60_000, done=tell)
            records[:] = bytes(len(records))  # it was copied
        told = [
            one.code if isinstance(one, RequestError) else one.base_offset
            for one in await asyncio.gather(*answers)
        ]
        gap = ErrorCode.OUT_OF_ORDER_SEQUENCE
        assert told == [0, ErrorCode.CORRUPT_BATCH, 2, 3, 2, gap, 4, None, 6]
        await node.node.settle()
        assert orders.high_watermark == 7
        assert node.node.memory.taken_bytes == 0


async def test_of_a_tick_that_does_not_fit_whole_the_first_are_taken() -> None:
    """P53: what does not fit is shed, and only that."""
    async with broker_node() as node:
        orders = await node.create("orders", max_message_bytes=str(1 << 20))
        batch = batch_of([b"v" * (MEMORY_BYTES // 5)])
        answers = [asyncio.get_running_loop().create_future() for _ in range(3)]
        for answer in answers:
            arrive(node, orders, batch, tell=answer.set_result)
        first, second, third = await asyncio.gather(*answers)
        assert (first.base_offset, second.base_offset) == (0, 1)
        assert third.code is ErrorCode.OVERLOADED


async def test_what_arrives_counts_from_its_arrival_on() -> None:
    """P53: also before it is accepted, and no longer once it is refused."""
    async with broker_node() as node:
        orders = await node.create("orders")
        memory = node.node.memory
        told: list[Produced | RequestError] = []
        for batch in (batch_of([b"a"]), batch_of([b"b"])[:-1]):
            arrive(node, orders, batch, tell=told.append)
        assert memory.taken_bytes == 2 * len(batch_of([b"a"])) - 1
        node.broker.produce.accept()
        assert memory.taken_bytes == len(batch_of([b"a"]))
        await node.node.settle()
        assert memory.taken_bytes == 0
        assert len(told) == 2


async def test_without_acks_nothing_comes_in_behind_what_is_refused() -> None:
    """Its connection ends with the refusal: what follows in the same bytes must not be stored."""
    async with broker_node() as node:
        orders = await node.create("orders")
        client = Script(apis=served_apis(KafkaSettings()), broker=node.broker)
        good = kafka_request(b"orders", acks=0)
        broken = good[:-1] + bytes([good[-1] ^ 1])
        client.send(good, broken, good)
        await node.node.settle()
        assert orders.high_watermark == 1


async def test_a_node_that_stops_answers_what_has_just_arrived() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        answer = asyncio.get_running_loop().create_future()
        arrive(node, orders, batch_of([b"a"]), tell=answer.set_result)
        await node.node.settle()
        assert answer.result().base_offset == 0


async def test_a_topic_that_goes_in_the_same_tick_takes_nothing() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        answer = asyncio.get_running_loop().create_future()
        arrive(node, orders, batch_of([b"a"]), tell=answer.set_result)
        orders.log.deleted = True
        node.broker.produce.accept()
        assert answer.result().code is ErrorCode.UNKNOWN_TOPIC
        orders.log.deleted = False


async def test_a_repetition_is_told_the_first_place_also_while_that_is_on_its_way() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        batch = batch_of([b"a"], producer=(7, 0, 0))
        first, again = node.begin(orders, batch), node.begin(orders, batch)
        later = node.begin(orders, batch_of([b"b"], producer=(7, 0, 1)))
        answers = await asyncio.gather(first, again, later)
        assert [one.base_offset for one in answers if isinstance(one, Produced)] == [0, 0, 1]
        assert [one.duplicate for one in answers if isinstance(one, Produced)] == [
            False,
            True,
            False,
        ]
        much_later = await node.begin(orders, batch)
        assert isinstance(much_later, Produced)
        assert (much_later.base_offset, much_later.duplicate) == (0, True)
        assert orders.log.log_end == 2


async def test_a_repetition_is_not_told_before_the_first_is_on_disk() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        batch = batch_of([b"a"], producer=(7, 0, 0))
        first, again = node.begin(orders, batch), node.begin(orders, batch)
        assert (first.done(), again.done()) == (False, False)
        assert orders.high_watermark == 0
        await asyncio.gather(first, again)
        assert orders.high_watermark == 1


async def test_a_gap_in_the_sequence_is_refused() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"a"], producer=(7, 0, 0)))
        refused = await node.refused(orders, batch_of([b"c"], producer=(7, 0, 2)))
        assert refused.code is ErrorCode.OUT_OF_ORDER_SEQUENCE
        assert orders.log.log_end == 1


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        (batch_of([b"a"])[:-1], ErrorCode.CORRUPT_BATCH),
        (batch_of([b"a"]) * 2, ErrorCode.CORRUPT_BATCH),
        (b"", ErrorCode.CORRUPT_BATCH),
        (bytes(61), ErrorCode.CORRUPT_BATCH),
        (batch_of([b"a" * (1 << 20)]), ErrorCode.RECORD_TOO_LARGE),
    ],
)
async def test_what_is_no_batch_is_refused_and_nothing_is_appended(
    batch: bytes, code: ErrorCode
) -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        assert (await node.refused(orders, batch)).code is code
        assert orders.log.log_end == 0


async def test_event_times_can_be_bounded() -> None:
    async with broker_node() as node:
        bounded = await node.create("bounded", tidelog_timestamp_future_max_ms="1000")
        refused = await node.refused(bounded, batch_of([b"a"], times=[NOON + 10_000]))
        assert refused.code is ErrorCode.TIMESTAMP_OUT_OF_RANGE
        await node.produce(bounded, batch_of([b"a"], times=[NOON + 500]))


async def test_log_append_time_stamps_every_record() -> None:
    async with broker_node() as node:
        stamped = await node.create("stamped", message_timestamp_type="LogAppendTime")
        told = await node.produce(stamped, batch_of([b"a", b"b"], times=[1, 2]))
        assert told.log_append_time
        found = await node.fetch(stamped, 0)
        header = bytes(found.buffers[0])
        assert header[22] & 0x08
        assert int.from_bytes(header[35:43], "big") == told.append_time


async def test_whoever_waited_too_long_is_told_that_the_outcome_is_unknown() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        answer = node.begin(orders, batch_of([b"a"]), timeout_ms=5)
        node.clock.advance(5)
        late = answer.result()
        assert isinstance(late, RequestError)
        assert late.code is ErrorCode.REQUEST_TIMED_OUT
        assert late.code.outcome is Outcome.UNKNOWN
        await node.node.settle()
        assert orders.high_watermark == 1


async def test_a_failed_sync_takes_the_directory_offline_at_once() -> None:
    """P44: who waits has an unknown outcome, who comes later is refused, nothing is retried."""
    disk = SimDisk()
    async with broker_node(disk) as node:
        orders = await node.create("orders")
        disk.faults.add(Fault(Operation.SYNC, "journal", errno.EIO))
        waiting = await node.begin(orders, batch_of([b"a"]))
        assert isinstance(waiting, RequestError)
        assert waiting.code is ErrorCode.STORAGE_ERROR
        assert waiting.code.outcome is Outcome.UNKNOWN
        later = await node.refused(orders, batch_of([b"b"]))
        assert later.code is ErrorCode.STORAGE_ERROR
        assert len(node.failures) == 1
        assert orders.high_watermark == 0
    assert disk.faults.struck == 1


async def test_a_deleted_topic_answers_who_waits_and_gives_memory_back() -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        waiting = node.begin(orders, batch_of([b"a"]))
        gone = MetadataDelta(deleted=(orders.topic.topic_id,))
        node.node.partitions.apply(node.broker.image, gone)
        told = await waiting
        assert isinstance(told, RequestError)
        assert told.code is ErrorCode.UNKNOWN_TOPIC
        assert node.node.memory.taken_bytes == 0


async def test_too_few_replicas_are_said_before_anything_is_appended() -> None:
    """P2: the topic's rule was changed to want more than there are."""
    async with broker_node() as node:
        orders = await node.create("orders")
        rule = CommitRule(flush=Flush.QUORUM, min_insync_replicas=2, replica_lag_ms_max=1)
        orders.changed(orders.topic, rule, node.clock.monotonic_ms())
        refused = await node.refused(orders, batch_of([b"a"]))
        assert refused.code is ErrorCode.NOT_ENOUGH_REPLICAS
        assert orders.log.log_end == 0


async def filled(node: BrokerNode, partition: HostedPartition, batch: bytes) -> RequestError:
    """Append until the disk is full, and still is after another look; return the refusal.

    What was written during a look counts twice until the next, which a refusal asks for.
    """
    refusals: list[RequestError] = []
    while len(refusals) < 2:
        answer = await node.begin(partition, batch)
        if isinstance(answer, RequestError):
            refusals.append(answer)
            await node.node.writer._checkpointer.run(lambda: None)  # it has looked before this
        else:
            refusals.clear()
    return refusals[-1]


async def test_a_full_disk_refuses_appends_until_space_returns() -> None:
    """P48: refused at the reserve line; nothing is lost, reads go on, service resumes."""
    disk = SimDisk(capacity_bytes=4 << 20)
    async with broker_node(disk) as node:
        orders = await node.create("orders")
        batch = batch_of([b"x" * 100_000])
        answer = await filled(node, orders, batch)
        stored = orders.log.log_end
        assert answer.code is ErrorCode.DISK_FULL
        assert answer.code.outcome is Outcome.NOT_DONE
        assert answer.code.retryable
        assert stored > 0
        assert orders.high_watermark == stored
        assert (await node.fetch(orders, 0)).size_bytes > 0
        disk.capacity_bytes *= 2
        await node.refused(orders, batch)
        await node.node.writer._checkpointer.run(lambda: None)  # it has looked before this
        await node.produce(orders, batch)


async def test_a_repetition_needs_no_room() -> None:
    """P4: it is in the log; "the disk is full, not done" would be a lie."""
    disk = SimDisk(capacity_bytes=4 << 20)
    async with broker_node(disk) as node:
        orders = await node.create("orders")
        first = batch_of([b"x" * 100_000], producer=(7, 0, 0))
        await node.produce(orders, first)
        filler = batch_of([b"x" * 100_000])
        assert (await filled(node, orders, filler)).code is ErrorCode.DISK_FULL
        again = await node.begin(orders, first)
        assert isinstance(again, Produced), again
        assert (again.base_offset, again.duplicate) == (0, True)
        # What follows one that was refused for want of room is refused for that, not for a gap.
        behind = batch_of([b"x" * 100_000], producer=(7, 0, 2))
        assert (await node.refused(orders, behind)).code is ErrorCode.DISK_FULL


async def test_nothing_is_appended_to_a_topic_that_was_deleted_meanwhile() -> None:
    """Who encodes records gives way to others, and holds a partition that may go."""
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"a"]))
        await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
        refused = await node.refused(orders, batch_of([b"b"]))
        assert refused.code is ErrorCode.UNKNOWN_TOPIC
        assert orders.log.log_end == 1
        await node.node.settle()
        assert node.node.memory.taken_bytes == 0


async def test_a_timer_that_comes_too_soon_does_not_end_the_looking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clocks and timers count in other units: a wake-up may be a moment early, once."""
    async with broker_node() as node:
        orders = await node.create("orders")
        call_at, early = node.clock.call_at, [1]

        def hasty(when: MonotonicMs, wake: Callable[[], None]) -> Callable[[], None]:
            return call_at(MonotonicMs(when - (early.pop() if early else 0)), wake)

        monkeypatch.setattr(SimClock, "call_at", staticmethod(hasty))
        answer = node.begin(orders, batch_of([b"a"]), timeout_ms=5)
        node.clock.advance(4)
        assert not answer.done()
        node.clock.advance(1)
        assert isinstance(answer.result(), RequestError)


async def test_an_answer_that_waits_for_the_files_comes_when_the_topic_is_async_no_more() -> None:
    """A checkpoint makes the batch durable: no later append is needed to say so."""
    async with broker_node() as node:
        orders = await node.create("orders", tidelog_flush="async")
        answer = node.begin(orders, batch_of([b"v"]), acks=Acks.ALL)
        topic = orders.topic
        settings = replace(topic.settings, flush=Flush.QUORUM)
        node.node.partitions.apply(
            node.broker.image, MetadataDelta(changed=(replace(topic, settings=settings),))
        )
        for _ in range(50):
            node.clock.advance(1_000)
            await node.node.writer.until(lambda: orders.log.filed_end == 1)
            await node.node.writer.checkpointed()
        assert isinstance(answer.result(), Produced)
        assert orders.high_watermark == 1
