"""Time: the first record at or after a moment, and exactly the records of a range of time.

2 GB of 1 KiB records in one partition, in batches of 1 MB, their event times spread evenly. Both
servers have their defaults, and the log is in the page cache. Every answer is checked.

- *Lookup*: ListOffsets by time through librdkafka, one connection, one after the other.
- *Window*: the 10,000 records of a random range. Ours is one Subscribe over the range, by the SDK;
  Kafka's is a ListOffsets, then fetches until a record comes that lies behind the range.
- *Growth*: our lookups in logs of 0.1, 1 and 10 GB. A search that halves what is left with each
  step costs a step for each doubling of the number of batches, N: so the largest log may cost
  log N(large) / log N(small) times the smallest, 2 for 10,000 batches beside 100. All else that a
  lookup costs is the same for each and only makes that easier.

What bounds it: the request around the lookup. Of a batch of 1 MB we read and decode the one stretch
of 32 records that can hold the answer; between which event times each stretch lies is found by
reading every record once, when the loop is idle, or by the first lookup that needs them. The row
`first lookup` tells what is left of that to the first lookup after the load; no later one is
counted with it.

Takes 4 minutes without the logs of growth, 9 with them, and 14 GB of disk (quick: 1.5 minutes).
"""

import asyncio
import math
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import tidelog as sdk
from bench.kafka_node import kafka
from bench.machine import Missing, compiled, scratch
from bench.rows import Row, compared, paired, skipped
from bench.server import Server, cpu_s
from bench.tidelog_node import tidelog
from tidelog.types import EPOCH

GB: Final = 1_000_000_000
SIZE_BYTES: Final = 1_024
BATCH_BYTES: Final = 1_000_000
PRODUCER: Final = (
    "acks=1", "linger.ms=100", f"batch.size={BATCH_BYTES}", "batch.num.messages=100000",
)  # fmt: skip
LOG_BYTES: Final = 2 * GB
QUICK_LOG_BYTES: Final = GB // 10
LOOKUPS: Final = 1_000
QUICK_LOOKUPS: Final = 200
WIDTH: Final = 10_000
"""Records, and milliseconds, of a window."""
WINDOWS: Final = 50
QUICK_WINDOWS: Final = 10
GROWTH_BYTES: Final = (GB // 10, GB, 10 * GB)
FREE_BYTES_MIN: Final = 30 * GB
"""On the disk, for the largest log; a node refuses records when little is left."""
PAIRS: Final = 5
QUICK_PAIRS: Final = 2


class Log(NamedTuple):
    """A partition that is loaded."""

    server: Server
    topic: str
    size_bytes: int
    from_ms: int
    """Event time of the record at offset 0; that of each other is a millisecond later."""

    @property
    def records(self) -> int:
        """How many there are."""
        return self.size_bytes // SIZE_BYTES


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield what lookups and windows cost, then how the cost grows with the log."""
    try:
        client = compiled("seek", "rdkafka")
    except Missing as missing:
        yield skipped("seek", str(missing))
        return
    yield from _against_kafka(client, quick=quick)
    yield from _growth(client, quick=quick)


def _against_kafka(client: Path, *, quick: bool) -> Iterator[Row]:
    size_bytes = QUICK_LOG_BYTES if quick else LOG_BYTES
    with scratch() as made, ExitStack() as running:
        root = Path(made)
        node = running.enter_context(tidelog(root / "tidelog"))
        ours = _loaded(client, node, "seek", size_bytes=size_bytes)
        yield _first_lookup(client, ours)
        peer = None
        try:
            server = running.enter_context(kafka(root / "kafka"))
        except Missing as missing:
            yield skipped("kafka", str(missing))
        else:
            peer = _loaded(client, server, "seek", size_bytes=size_bytes)
        lookups = QUICK_LOOKUPS if quick else LOOKUPS
        windows = QUICK_WINDOWS if quick else WINDOWS

        def find(log: Log, number: int) -> float:
            return _asked(client, log, "find", lookups, number) / lookups

        def window(log: Log, number: int) -> float:
            if log is not ours:
                return _asked(client, log, "window", windows, number, WIDTH) / windows
            begins = _begins(log, windows, number)
            return _subscribed(log, node.doors["grpc"], begins) / windows

        logs = [ours] if peer is None else [ours, peer]
        yield _lookups_row(_size(ours), *_in_turn(logs, find, quick=quick))
        yield _windows_row(*_in_turn(logs, window, quick=quick))


def _loaded(client: Path, server: Server, topic: str, *, size_bytes: int) -> Log:
    """Return a new log of so many bytes whose last record is of now.

    Kafka deletes by event time, so that old ones would not last.
    """
    records = size_bytes // SIZE_BYTES
    log = Log(server, topic, size_bytes, int(time.time() * 1000) - records)
    _client(client, log, "load", SIZE_BYTES, *PRODUCER)
    return log


def _client(client: Path, log: Log, verb: str, *more: object) -> None:
    what = [verb, log.server.brokers, log.topic, log.records, log.from_ms, *more]
    command = [str(client), *map(str, what)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        name = log.server.name
        raise RuntimeError(f"{name}: {' '.join(command)}: {done.stderr.strip()[-500:]}")


def _asked(client: Path, log: Log, verb: str, *more: object) -> float:
    """Return what the client's run cost the server, CPU seconds."""
    before = cpu_s(log.server.pid)
    _client(client, log, verb, *more)
    return cpu_s(log.server.pid) - before


def _in_turn(
    logs: Sequence[Log], ask: Callable[[Log, int], float], *, quick: bool
) -> list[list[float]]:
    """Ask each log so often, changing who is first; the first time is not counted.

    Returns what `ask` returned, CPU seconds, for each log; those of the same place were neighbours.
    """
    costs: list[list[float]] = [[] for _ in logs]
    both = list(zip(logs, costs, strict=True))
    for number in range(-1, QUICK_PAIRS if quick else PAIRS):
        for log, counted in both if number % 2 else both[::-1]:
            cost = ask(log, number)  # the same questions for all
            if number >= 0:
                counted.append(cost)
    return costs


def _first_lookup(client: Path, log: Log) -> Row:
    """Return what one lookup of the last record costs while event times are still unknown."""
    cost = _asked(client, log, "find", 1, 0)
    return Row(question=f"first lookup after the load, {_size(log)}", unit="CPU s", ours=cost)


def _lookups_row(size: str, ours: Sequence[float], peer: Sequence[float] | None = None) -> Row:
    question, unit = f"time lookup, {size}", "lookups/CPU s"
    rates = [1 / cost for cost in ours]
    if peer is None:
        return Row(question=question, unit=unit, ours=median(rates))
    peer_rates = [1 / cost for cost in peer]
    return compared(
        question,
        unit=unit,
        ours=rates,
        peer=peer_rates,
        at_least=4.0,
    )


def _windows_row(ours: Sequence[float], peer: Sequence[float] | None = None) -> Row:
    question, unit = f"window of {WIDTH:,} records by time", "CPU ms"
    if peer is None:
        return Row(question=question, unit=unit, ours=median(ours) * 1e3)
    return compared(
        question,
        unit=unit,
        ours=[cost * 1e3 for cost in ours],
        peer=[cost * 1e3 for cost in peer],
        at_most=0.8,
    )


def _begins(log: Log, windows: int, seed: int) -> list[int]:
    """Return random times at which a window begins, ms; each window lies within the log."""
    chance = random.Random(seed)  # noqa: S311 - spreads the questions, keeps no secret
    return [log.from_ms + chance.randrange(log.records - WIDTH) for _ in range(windows)]


def _subscribed(log: Log, door: str, begins: Sequence[int]) -> float:
    """Return what windows cost the node, each taken by one call; CPU seconds."""
    before = cpu_s(log.server.pid)
    asyncio.run(_replayed(log, door, begins))
    return cpu_s(log.server.pid) - before


async def _replayed(log: Log, door: str, begins: Sequence[int]) -> None:
    """Read each window.

    Raises:
        RuntimeError: it was not the window, the whole window and nothing else.
    """
    async with sdk.connect(f"tidelog://{door}") as client:
        for begin_ms in begins:
            during = sdk.TimeRange(_moment(begin_ms), _moment(begin_ms + WIDTH))
            async with client.replay(log.topic, during=during) as replay:
                offsets = [record.offset async for record in replay]
            first = begin_ms - log.from_ms
            if offsets != list(range(first, first + WIDTH)):
                raise RuntimeError(f"the window from offset {first} came with {len(offsets)}")


def _moment(time_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=time_ms)


def _growth(client: Path, *, quick: bool) -> Iterator[Row]:
    """Yield the lookups of a large log beside those of a small one."""
    sizes: tuple[int, ...] = GROWTH_BYTES[:-1] if quick else GROWTH_BYTES
    with scratch() as made:
        free = shutil.disk_usage(made).free
        if not quick and free < FREE_BYTES_MIN:
            why = f"{free / GB:.0f} GB are free on the disk, {FREE_BYTES_MIN / GB:.0f} are needed"
            yield skipped("time lookup, 10 GB", why)
            sizes = sizes[:-1]
        with tidelog(Path(made, "tidelog")) as node:
            logs = [_loaded(client, node, f"grown-{size}", size_bytes=size) for size in sizes]
            for log in logs:
                yield _first_lookup(client, log)
            lookups = QUICK_LOOKUPS if quick else LOOKUPS

            def find(log: Log, number: int) -> float:
                return _asked(client, log, "find", lookups, number) / lookups

            costs = _in_turn(logs, find, quick=quick)
    for log, cost in zip(logs[1:], costs[1:], strict=True):
        yield _growth_row((log, logs[0]), cost, costs[0])


def _growth_row(sizes: tuple[Log, Log], large: Sequence[float], small: Sequence[float]) -> Row:
    ratio, spread = paired(large, small)
    batches = [log.size_bytes / BATCH_BYTES for log in sizes]
    return Row(
        question=f"time lookup, {_size(sizes[0])} beside {_size(sizes[1])}",
        unit="CPU us",
        ours=median(large) * 1e6,
        peer=median(small) * 1e6,
        ratio=ratio,
        spread=spread,
        at_most=math.log(batches[0]) / math.log(batches[1]),
    )


def _size(log: Log) -> str:
    return f"{log.size_bytes / GB:g} GB"
