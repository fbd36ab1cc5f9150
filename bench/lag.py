"""Loop lag: how long whatever the node is busy with keeps a client waiting, under three loads.

The node measures it itself: the duration of each pass of its event loop, as a histogram on its
metrics page. The 99th percentile of the passes of a load is read off between two scrapes, by a
straight line within its bucket. What bounds it: the longest piece of work that the loop does in one
go, and, on a machine of two cores, who else wants them.

*Bulk*: 1 KiB records, nothing synced. *Small*: 64 connections with 16 requests in flight, nothing
synced. *Replay*: a node as shipped; a topic that is not in the page cache is read from its
beginning, over the Kafka listener or over Subscribe, beside 1,000 requests of one record a second
over 10 connections. The producers' wait, from when a request was due to its acknowledgement, is
held against that of as long a time without the replay. How much of the topic came from the disk is
`disk_share` in the history: the page cache was dropped if it is near 1.

About 8 minutes with 10 GiB, of which 1 is spent on writing them; twelve times they are read.
"""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from shutil import disk_usage
from statistics import median
from typing import Final, NamedTuple

from bench.bulk import CONSUMER, PRODUCER
from bench.machine import Missing, compiled, scratch
from bench.python_client import command
from bench.requests import STREAM, Load, kafka_request, make_topics, of_kafka
from bench.requests import measure as ask
from bench.rows import Row, compared, skipped
from bench.server import Running
from bench.tidelog_node import environment, tidelog

RUNS: Final = 5
QUICK_RUNS: Final = 2
LAG_MS_MAX: Final = 20
BULK_RECORDS: Final = 1_000_000
QUICK_BULK_RECORDS: Final = 200_000
VALUE_BYTES: Final = 1_024
SMALL: Final = Load(64, 16, 200_000)
REPLAYED_BYTES: Final = 10 << 30
QUICK_REPLAYED_BYTES: Final = 200 << 20
DISK_SHARE: Final = 0.5
"""Of the free space, what the replayed topic may take."""
PER_SECOND: Final = 1_000
CONNECTIONS: Final = 10
WARM_S: Final = 1.0
ALONE_S_MIN: Final = 2.0
"""Of the producers without a replay, however short the replay is."""
SLOWER_MAX: Final = 2.0
HISTORY: Final = "history"
BUCKET: Final = re.compile(r'^tidelog_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.M)


class Replayed(NamedTuple):
    """Producers beside one replay, and the node meanwhile."""

    p99_ms: float
    """Of the producers."""
    lag_ms: float
    seconds: float
    disk_share: float


class Lag:
    """What the node says of its loop since the last look."""

    def __init__(self, node: Running) -> None:
        """Look for the first time; the page itself is loaded by that."""
        self._page = f"http://{node.doors['http']}/metrics"
        self._counts: dict[float, float] = {}
        self.p99_ms()

    def p99_ms(self) -> float:
        """Return the 99th percentile of the passes since the last look, and look."""
        before, self._counts = self._counts, self._look()
        bounds = sorted(self._counts)
        below = [self._counts[bound] - before.get(bound, 0.0) for bound in bounds]
        wanted = below[-1] * 0.99
        lower = passes = 0.0
        for bound, count in zip(bounds, below, strict=True):
            if count >= wanted:
                upper = bound if isfinite(bound) else 10 * lower  # the last bucket has no bound
                share = (wanted - passes) / max(count - passes, 1.0)
                return 1_000 * (lower + (upper - lower) * share)
            lower, passes = bound, count
        raise AssertionError(below)

    def _look(self) -> dict[float, float]:
        """Return how many passes there were so far, up to each bound in seconds."""
        with urllib.request.urlopen(self._page, timeout=30) as page:  # noqa: S310 - http, our own
            text = page.read().decode()
        return {float(bound): float(count) for bound, count in BUCKET.findall(text)}


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield the 99th percentile of the loop's passes, and what a replay does to producers."""
    try:
        for client in (("bulk", "rdkafka"), ("small",), ("paced",)):
            compiled(*client)
    except Missing as missing:
        yield skipped("loop lag", str(missing))
        return
    with scratch() as made:
        root = Path(made)
        with tidelog(root / "unsynced", "topic_defaults.tidelog.flush=async") as node:
            yield _under_bulk(node, quick=quick)
            yield _under_small(node, root, quick=quick)
    with scratch() as made:
        root = Path(made)
        with tidelog(root / "shipped") as node:
            yield from _under_replay(node, root, quick=quick)


def _under_bulk(node: Running, *, quick: bool) -> Row:
    lag, seen = Lag(node), []
    records = QUICK_BULK_RECORDS if quick else BULK_RECORDS
    for number in range(-1, QUICK_RUNS if quick else RUNS):
        _bulk(node, ("produce", f"bulk-{number + 1}", records), PRODUCER)
        figure = lag.p99_ms()
        if number >= 0:
            seen.append(figure)
    return _row("bulk produce 1 KiB", seen)


def _under_small(node: Running, root: Path, *, quick: bool) -> Row:
    lag, seen = Lag(node), []
    asked = of_kafka("tidelog", node, root)
    for number in range(-1, QUICK_RUNS if quick else RUNS):
        ask([asked], SMALL, quick=True)
        figure = lag.p99_ms()
        if number >= 0:
            seen.append(figure)
    return _row(f"{SMALL} of one record", seen)


def _under_replay(node: Running, root: Path, *, quick: bool) -> Iterator[Row]:
    """Fill a topic, then read it in either way, cold each time."""
    room = int(disk_usage(root).free * DISK_SHARE)
    wanted = QUICK_REPLAYED_BYTES if quick else min(REPLAYED_BYTES, room)
    records = wanted // VALUE_BYTES
    _bulk(node, ("produce", HISTORY, records), PRODUCER)
    (root / "paced.request").write_bytes(kafka_request(STREAM))
    make_topics(node, root, [STREAM])
    size = f"{wanted / (1 << 30):.3g} GiB" if not quick else f"{wanted >> 20} MiB"
    topic = (HISTORY, str(records))
    ways = {
        "Kafka listener": [*_bulk_command(node, ("consume", HISTORY, records)), *CONSUMER],
        "Subscribe": command("encoded_batches", "consume", node.doors["grpc"], *topic),
    }
    for way, reading in ways.items():
        lag = Lag(node)
        alone: list[float] = []
        beside: list[Replayed] = []
        seconds = ALONE_S_MIN
        for number in range(-1, QUICK_RUNS if quick else RUNS):
            if number % 2:
                alone.append(_alone(node, root, seconds))
            beside.append(_beside(node, root, reading, lag=lag, wanted=wanted))
            seconds = max(beside[-1].seconds, ALONE_S_MIN)
            if not number % 2:
                alone.append(_alone(node, root, seconds))
        alone, beside = alone[1:], beside[1:]  # the first is not counted
        more = {
            "seconds": median(one.seconds for one in beside),
            "disk_share": median(one.disk_share for one in beside),
        }
        what = f"cold replay of {size}, {way}"
        yield _row(what, [one.lag_ms for one in beside], more=more)
        yield _slower(f"{what}: producers", [one.p99_ms for one in beside], alone)


def _beside(node: Running, root: Path, reading: list[str], *, lag: Lag, wanted: int) -> Replayed:
    """Return what producers see while the topic is replayed from the disk."""
    drop_from_cache(root)
    with _producers(node, root) as producers:
        time.sleep(WARM_S)
        lag.p99_ms()
        read_bytes = _read_bytes(node.pid)
        producers.send_signal(signal.SIGUSR1)
        began = time.monotonic()
        done = subprocess.run(
            reading, capture_output=True, text=True, check=False, env=environment()
        )
        seconds = time.monotonic() - began
        lag_ms = lag.p99_ms()
        told = _end(producers)
    if done.returncode:
        raise RuntimeError(f"{' '.join(reading)}: {done.stderr.strip()[-500:]}")
    share = (_read_bytes(node.pid) - read_bytes) / wanted
    return Replayed(told["p99_ms"], lag_ms, seconds, share)


def _alone(node: Running, root: Path, seconds: float) -> float:
    """Return the producers' 99th percentile without anybody else, ms."""
    with _producers(node, root) as producers:
        time.sleep(WARM_S)
        producers.send_signal(signal.SIGUSR1)
        time.sleep(seconds)
        return _end(producers)["p99_ms"]


@contextmanager
def _producers(node: Running, root: Path) -> "Iterator[subprocess.Popen[str]]":
    """Run the client that sends so many requests a second until it is ended."""
    port = node.brokers.rpartition(":")[2]
    what = [port, str(root / "paced.request"), str(PER_SECOND), str(CONNECTIONS)]
    with subprocess.Popen(
        [str(compiled("paced")), *what], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as producers:
        try:
            yield producers
        finally:
            producers.kill()


def _end(producers: "subprocess.Popen[str]") -> dict[str, float]:
    """Stop the producers; return what they saw."""
    producers.terminate()
    out, errors = producers.communicate()
    if producers.returncode:
        raise RuntimeError(f"the producers: {errors.strip()}")
    told: dict[str, float] = json.loads(out)
    return told


def drop_from_cache(root: Path) -> None:
    """Write out all that is dirty, and take every file below a directory from the page cache."""
    os.sync()
    for path in root.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _read_bytes(pid: int) -> int:
    """Return what a process has had read from the disk."""
    text = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
    return int(text.partition("\nread_bytes: ")[2].split()[0])


def _bulk_command(node: Running, what: tuple[str, str, int]) -> list[str]:
    verb, topic, records = what
    program = str(compiled("bulk", "rdkafka"))
    return [program, verb, node.brokers, topic, "1", str(records), str(VALUE_BYTES)]


def _bulk(node: Running, what: tuple[str, str, int], settings: tuple[str, ...]) -> None:
    line = [*_bulk_command(node, what), *settings]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)}: {done.stderr.strip()[-500:]}")


def _row(load: str, seen: list[float], *, more: dict[str, float] | None = None) -> Row:
    return Row(
        question=f"loop lag, {load}",
        unit="p99 ms",
        ours=median(seen),
        ratio=median(seen) / LAG_MS_MAX,
        spread=(min(seen), max(seen)),
        at_most=1.0,
        more=more,
    )


def _slower(question: str, beside: list[float], alone: list[float]) -> Row:
    return compared(
        question,
        unit="p99 ms",
        ours=beside,
        peer=alone,
        at_most=SLOWER_MAX,
    )
