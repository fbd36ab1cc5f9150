"""`tidelog.testing`: what its fixture costs a test, and how long a turn of the clock takes.

What bounds it: a node is assembled and a gRPC server and channel are opened for each test; a turned
hour is about 3,600 timers of the node and of a consumer in it. CPU is told beside the time, for it
hardly depends on who else is busy.
"""

import asyncio
import time
from collections.abc import Iterator
from statistics import median, quantiles
from typing import Final

from bench.rows import Row, promised
from tidelog import testing

FIXTURES: Final = 100
FIXTURE_S_MAX: Final = 0.150
"""The 95th percentile, after the first, which imports."""
HOURS: Final = 9
HOUR_S_MAX: Final = 1.0


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield the fixture's 95th percentile, then an hour without and with a consumer."""
    asyncio.run(_fixture())  # imports what there is to import
    costs = [asyncio.run(_fixture()) for _ in range(FIXTURES // 5 if quick else FIXTURES)]
    took = [wall for wall, _ in costs]
    yield promised(
        "fixture of tidelog.testing, p95",
        unit="s",
        ours=quantiles(took, n=20)[-1],
        most=FIXTURE_S_MAX,
        spread=(min(took), max(took)),
        more={"median_s": median(took), "cpu_s": median(cpu for _, cpu in costs)},
    )
    for question, consuming in (("an hour turned", False), ("an hour turned, a member", True)):
        costs = asyncio.run(_hours(3 if quick else HOURS, consuming=consuming))
        took = [wall for wall, _ in costs]
        yield promised(
            question,
            unit="s",
            ours=median(took),
            most=HOUR_S_MAX,
            spread=(min(took), max(took)),
            more={"cpu_s": median(cpu for _, cpu in costs)},
        )


async def _fixture() -> tuple[float, float]:
    """Return the seconds, and those of CPU, of a test that asks for a broker and does nothing."""
    began, cpu = time.perf_counter(), time.process_time()
    async with testing.broker(clock=testing.ManualClock()) as broker:
        await broker.client.cluster.get()  # the channel is open
    return time.perf_counter() - began, time.process_time() - cpu


async def _hours(count: int, *, consuming: bool) -> list[tuple[float, float]]:
    """Return the same of every one of so many hours."""
    async with testing.broker(clock=testing.ManualClock()) as broker:
        await broker.client.topics.create("orders", partitions=6)
        if not consuming:
            return [await _hour(broker) for _ in range(count)]
        async with broker.client.consumer("orders", group="g"):
            return [await _hour(broker) for _ in range(count)]


async def _hour(broker: testing.Broker) -> tuple[float, float]:
    began, cpu = time.perf_counter(), time.process_time()
    await broker.advance(hours=1)
    return time.perf_counter() - began, time.process_time() - cpu
