"""What is owed to a node that has returned costs nothing while it cannot be given."""

from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from api.sim.clock import SimClock
from cluster.controller.image import (
    MetadataDelta,
    MetadataImage,
    Standing,
)
from cluster.shell import controller_balance
from cluster.shell.controller_balance import CALM_MS, ROUND_MS, Balance
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, TopicId, TopicName, WallMs
from tests.controller_world import Tasks
from tests.quorum import turns
from tests.world import Log

ONE, TWO = NodeId(1), NodeId(2)


TOPIC = TopicId(bytes(16))


def image(*, isr: tuple[NodeId, ...], leader: NodeId | None = ONE) -> MetadataImage:
    """Return a cluster in which node 1 leads what is node 2's own."""
    row: Any = SimpleNamespace(number=0, replicas=(TWO, ONE), isr=isr, leader=leader)
    topic: Any = SimpleNamespace(name="orders", topic_id=TOPIC, partitions=(row,))
    broker: Any = SimpleNamespace(node=TWO, standing=Standing.RUNNING)
    return replace(
        MetadataImage(),
        topics={TopicName("orders"): topic},
        topics_by_id={TOPIC: topic},
        brokers={TWO: broker},
    )


class World:
    def __init__(self) -> None:
        self.clock, self.log, self.tasks = SimClock(wall=WallMs(0)), Log(), Tasks()
        self.image = image(isr=(ONE,))
        self.proposed = 0
        self.refusal: RequestError | None = None
        doors: Any = SimpleNamespace(clock=self.clock, quorum=self, note=self.log, spawn=self.tasks)
        self.balance = Balance(doors)

    async def propose(self, _: Any) -> None:
        self.proposed += 1
        if self.refusal is not None:
            raise self.refusal

    def publish(self, now: MetadataImage) -> None:
        """The partition's row has changed."""
        self.image = now
        self.balance.published(now, MetadataDelta(changed=tuple(now.topics.values())))

    async def pass_by(self, ms: int) -> None:
        self.clock.advance(ms)
        await turns()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    world.balance.end()
    await world.tasks.cancel()
    assert world.tasks.failed == []


async def test_changes_are_gathered_while_nothing_can_be_moved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart of many partitions changes an ISR each: not one look at everything for each."""
    looks: list[int] = []
    honest = Balance._moves

    def counted(balance: Balance, now: MetadataImage) -> Any:
        looks.append(world.clock.monotonic_ms())
        return honest(balance, now)

    monkeypatch.setattr(Balance, "_moves", counted)
    world.balance.begin()
    await world.pass_by(CALM_MS)
    assert len(looks) == 1
    for _ in range(100):
        world.balance.published(world.image, MetadataDelta())
        await world.pass_by(ROUND_MS // 100)
    assert len(looks) == 2
    world.image = image(isr=(ONE, TWO))
    world.balance.published(world.image, MetadataDelta())
    await world.pass_by(ROUND_MS)
    assert world.proposed == 1


async def test_a_round_that_moved_nothing_is_not_told(world: World) -> None:
    world.image = image(isr=(ONE, TWO))
    world.refusal = RequestError(ErrorCode.NO_ELIGIBLE_LEADER, "it has just left")
    world.balance.begin()
    await world.pass_by(CALM_MS)
    assert (world.proposed, world.log.lines) == (1, [])
    world.refusal = None
    await world.pass_by(ROUND_MS)
    assert (world.proposed, world.log.lines) == (2, [("leaders_balanced", {"partitions": 1})])


@pytest.mark.parametrize("by_us", [True, False])
async def test_a_leadership_is_given_back_once(world: World, *, by_us: bool) -> None:
    """Who gives it away again has a reason, and each time is a pause for somebody."""
    world.publish(image(isr=(ONE, TWO)))
    world.balance.begin()
    if by_us:
        await world.pass_by(CALM_MS)
        assert world.proposed == 1
    else:
        world.publish(image(isr=(ONE, TWO), leader=TWO))
    world.publish(image(isr=(ONE, TWO)))
    for _ in range(10):
        await world.pass_by(ROUND_MS)
    assert world.proposed == int(by_us)
    returned = MetadataDelta(brokers=tuple(world.image.brokers.values()))
    world.balance.published(world.image, returned)
    await world.pass_by(CALM_MS)
    assert world.proposed == int(by_us) + 1


async def test_what_nobody_leads_yet_is_given_back_once_somebody_does(world: World) -> None:
    world.publish(image(isr=(TWO,), leader=None))
    world.balance.begin()
    await world.pass_by(CALM_MS)
    assert world.proposed == 0
    world.publish(image(isr=(ONE, TWO)))
    await world.pass_by(ROUND_MS)
    assert world.proposed == 1


async def test_a_node_that_has_gone_is_owed_nothing(world: World) -> None:
    world.publish(image(isr=(ONE, TWO)))
    world.balance.begin()
    world.balance.published(world.image, MetadataDelta(brokers_removed=(TWO,)))
    await world.pass_by(CALM_MS)
    assert world.proposed == 0
    stopping: Any = SimpleNamespace(node=TWO, standing=Standing.STOPPING)
    world.balance.begin()
    world.balance.published(world.image, MetadataDelta(brokers=(stopping,)))
    await world.pass_by(CALM_MS)
    assert world.proposed == 0


async def test_no_more_are_moved_at_once_than_is_short(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller_balance, "MOVED_MAX", 0)
    world.publish(image(isr=(ONE, TWO)))
    world.balance.begin()
    await world.pass_by(CALM_MS)
    assert world.proposed == 0


async def test_a_topic_that_is_gone_is_owed_to_nobody(world: World) -> None:
    world.balance.begin()
    world.image = replace(world.image, topics={}, topics_by_id={})
    await world.pass_by(CALM_MS)
    assert (world.proposed, world.balance._owed) == (0, {})
