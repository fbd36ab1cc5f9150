"""1,000 topics of one partition, three replicas each: made, idle, and one node restarted.

*Until writable*: from asking for all of them with one request until each has taken a record with
acks=all. *Idle*: CPU of the node that uses most, a while later, with nobody at the doors.
*Restart*: CPU of one node from before exec until every partition is in sync again on all three,
after a stop in order. Each cluster runs alone, ours first.

What bounds it: creating, one entry of the metadata log for each topic and a log's first files on
three nodes; idle, beats and heartbeats, which do not depend on the number of partitions;
restarting, reading a partition's state, in Python.

Takes 8 minutes (quick, with 200 topics: 1.5 minutes).
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from confluent_kafka import Producer

from bench.cluster.nodes import NUMBERS, Nodes, once_known
from bench.cluster.topics import make, settle, whole
from bench.cluster.turns import MAKERS, started
from bench.machine import Missing, scratch
from bench.rows import Row, compared, skipped
from bench.server import cpu_s

TOPICS: Final = 1_000
QUICK_TOPICS: Final = 200
RESTARTS: Final = 3
QUICK_RESTARTS: Final = 1
WRITTEN_S_MAX: Final = 300
CALM_S: Final = 40
"""After the last record, before it counts as idle: what follows a record (a checkpoint, the last
closed time told) is over within 30."""
IDLE_S: Final = 60
QUICK_IDLE_S: Final = 10
IDLE_PERCENT_MAX: Final = 2.0
MADE_SHARE_MAX: Final = 0.5
RESTART_SHARE_MAX: Final = 0.15
LOOK_S: Final = 0.5
"""Metadata of a thousand topics cost the node that is asked."""


class Many(NamedTuple):
    """What was measured of one cluster."""

    made_s: float
    idle_percent: list[float]
    """Of one core, by node."""
    restart_cpu_s: list[float]


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield what many partitions cost."""
    found: dict[str, Many] = {}
    with scratch() as root:
        for name in MAKERS:
            try:
                with started(name, Path(root)) as nodes:
                    found[name] = _measured(nodes, quick=quick)
            except Missing as missing:
                yield skipped(name, str(missing))
    yield from _rows(QUICK_TOPICS if quick else TOPICS, found["tidelog"], found.get("kafka"))


def _measured(nodes: Nodes, *, quick: bool) -> Many:
    topics = QUICK_TOPICS if quick else TOPICS
    make(nodes, ["warm"], 1)
    _write(nodes, ["warm"])
    names = [f"many-{number}" for number in range(topics)]
    began = time.monotonic()
    make(nodes, names, 1)
    _write(nodes, names)
    made_s = time.monotonic() - began
    settle(nodes, topics)
    time.sleep(CALM_S)
    before = {number: cpu_s(pid) for number, pid in nodes.pids.items()}
    idle_s = QUICK_IDLE_S if quick else IDLE_S
    time.sleep(idle_s)
    idle = [(cpu_s(nodes.pids[number]) - was) / idle_s * 100 for number, was in before.items()]
    restarts = range(QUICK_RESTARTS if quick else RESTARTS)
    costs = [_restart(nodes, NUMBERS[number % len(NUMBERS)], topics) for number in restarts]
    return Many(made_s, idle, costs)


def _write(nodes: Nodes, names: Sequence[str]) -> None:
    """Write one record to each topic.

    Raises:
        RuntimeError: one did not take it.
    """
    failed: list[str] = []

    def told(error: object, message: object) -> None:
        del message
        if error is not None:
            failed.append(str(error))

    settings = {"bootstrap.servers": nodes.brokers, "linger.ms": 0, "log_level": 0}
    producer = Producer({**settings, "acks": "all"})
    for name in names:
        producer.produce(name, value=b"v", partition=0, on_delivery=told)
        producer.poll(0)
    left = producer.flush(WRITTEN_S_MAX)
    if left or failed:
        raise RuntimeError(f"{nodes.name}: {left} unanswered, {len(failed)} failed: {failed[:3]}")


def _restart(nodes: Nodes, number: int, partitions: int) -> float:
    """Return the CPU seconds of one node until all is in sync again; another one is asked."""
    nodes.stop(number)
    nodes.start([number])
    other = nodes.address(NUMBERS[number % len(NUMBERS)])
    once_known(
        lambda: whole(other, partitions) or None,
        f"every partition of {nodes.name} in sync after a restart",
        every_s=LOOK_S,
    )
    cost = cpu_s(nodes.pids[number])
    settle(nodes, partitions)
    return cost


def _rows(topics: int, ours: Many, peer: Many | None) -> Iterator[Row]:
    what = f"{topics:,} topics, until writable"
    if peer is None:
        yield Row(question=what, unit="s", ours=ours.made_s)
    else:
        made = ([ours.made_s], [peer.made_s])
        yield compared(what, unit="s", ours=made[0], peer=made[1], at_most=MADE_SHARE_MAX)
    percent, bound = ours.idle_percent, IDLE_PERCENT_MAX
    yield Row(
        question=f"{topics:,} replicated partitions, idle",
        unit="CPU %",
        ours=max(percent),
        peer=None if peer is None else max(peer.idle_percent),
        ratio=max(percent) / bound,
        spread=(min(percent) / bound, max(percent) / bound),
        at_most=1.0,
    )
    what = f"{topics:,} replicated partitions, restart"
    costs = ours.restart_cpu_s
    if peer is None:
        yield Row(question=what, unit="CPU s", ours=median(costs))
        return
    theirs = peer.restart_cpu_s
    yield compared(what, unit="CPU s", ours=costs, peer=theirs, at_most=RESTART_SHARE_MAX)
