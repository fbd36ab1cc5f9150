"""One node's date is wrong: it leads nothing meanwhile, and append times stay near the others'."""

from collections.abc import AsyncIterator

import pytest

from cluster.controller.image import Standing
from model.ids import NodeId, Offset
from tests.cluster_nodes import NOON, Life, Nodes, three

TOPIC = "orders"
YEAR = 365 * 24 * 3_600_000
OFF = [300_000, -300_000, YEAR, -YEAR]


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    async with three(TOPIC) as made:
        yield made


def standing(nodes: Nodes, number: int) -> Standing:
    image = next(life.image for at, life in nodes.lives.items() if at != number)
    return image.brokers[NodeId(number)].standing


def right_date(nodes: Nodes) -> int:
    return NOON + nodes.net.clock.monotonic_ms()


def check_times(nodes: Nodes, life: Life) -> None:
    """Append times never fall, and are those of the majority's clock."""
    log = life.hosted(TOPIC).log
    times = [log.append_time_at(Offset(at)) for at in range(log.log_start, log.log_end)]
    known = [time for time in times if time is not None]
    assert known == sorted(known)
    assert len(known) == len(times) > 0
    assert max(abs(time - right_date(nodes)) for time in known) < 60_000


@pytest.mark.parametrize("off_ms", OFF)
async def test_a_leader_whose_date_jumps_leads_no_more_until_it_is_right(
    nodes: Nodes, off_ms: int
) -> None:
    wrong = await nodes.leader(TOPIC)
    await nodes.produce(wrong, TOPIC, b"before")
    wrong.clock.ahead_ms = off_ms
    await nodes.produce(wrong, TOPIC, b"not noticed yet")
    await nodes.until(lambda: standing(nodes, wrong.number) is Standing.BARRED)
    await nodes.until(lambda: nodes.leading(TOPIC) not in {None, wrong})
    leader = await nodes.leader(TOPIC)
    await nodes.produce(leader, TOPIC, b"after")
    await nodes.pass_by(5_000)
    assert standing(nodes, wrong.number) is Standing.BARRED
    await nodes.in_sync(TOPIC)
    check_times(nodes, leader)
    (told,) = [
        fields
        for life in nodes.lives.values()
        for event, fields in life.lines
        if event == "broker_clock_in_doubt"
    ]
    assert told["broker"] == wrong.number
    assert abs(int(told["ahead_ms"]) - off_ms) < 1_000
    wrong.clock.ahead_ms = 0
    await nodes.until(lambda: standing(nodes, wrong.number) is Standing.RUNNING)


@pytest.mark.parametrize("off_ms", OFF)
async def test_a_node_that_starts_with_a_wrong_date_follows_and_does_not_lead(
    nodes: Nodes, off_ms: int
) -> None:
    leader = await nodes.leader(TOPIC)
    await nodes.produce(leader, TOPIC, b"before")
    number, third = (at for at in nodes.lives if at != leader.number)
    await nodes.kill(number)
    await nodes.until(lambda: standing(nodes, number) is Standing.FENCED)
    (wrong,) = await nodes.begin(number, ahead_ms=off_ms)
    await nodes.until(lambda: standing(nodes, number) is Standing.BARRED)
    await nodes.in_sync(TOPIC)
    await nodes.kill(leader.number)
    await nodes.until(lambda: nodes.leading(TOPIC) is nodes.lives[third])
    await nodes.produce(nodes.lives[third], TOPIC, b"after")
    check_times(nodes, nodes.lives[third])
    await nodes.start(leader.number)
    wrong.clock.ahead_ms = 0
    if off_ms < 0:
        await nodes.until(lambda: standing(nodes, number) is Standing.RUNNING)
    else:  # its append clock began there, and does not go back
        await nodes.pass_by(5_000)
        assert standing(nodes, number) is Standing.BARRED
    await nodes.in_sync(TOPIC)
    check_times(nodes, nodes.lives[third])
