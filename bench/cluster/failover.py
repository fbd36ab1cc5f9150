"""A node that leads is killed (SIGKILL), or stopped in order (SIGTERM), under a producer.

500 records a second with acks=all into three partitions, of which each node leads one; every other
time it is also the leader of the quorum that is struck. A gap is the longest time in which any of
the three partitions had nothing acknowledged, as a librdkafka client with its own defaults sees
it. Then everything is read back.

What bounds it: ours, how soon the others know (a link that breaks, and nobody who answers at its
address: 0.3 s), an election of the quorum where its leader was struck, and the client, which must
learn who leads now. Kafka waits for its broker session, 9 s. Before the others acknowledge anything
they must know as well that the dead one is not in sync any more.

Takes 45 minutes (quick: 1.5 minutes).
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.cluster.acks import Acks
from bench.cluster.nodes import Nodes
from bench.cluster.strikes import Strike, longest_gap_s, rows, victim_of
from bench.cluster.topics import leaders, make, settle
from bench.cluster.turns import MAKERS, started
from bench.machine import Missing, scratch
from bench.rows import Row, skipped

PARTITIONS: Final = 3
STRIKES: Final = {"kill": 50, "stop": 10}
QUICK_STRIKES: Final = {"kill": 2, "stop": 1}
BEFORE_S: Final = 2.0
"""The producer is at work for so long when a node is struck, and goes on for as long when writes
are back: a gap may have a second one behind it."""


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield the longest gaps, and what was lost or doubled."""
    found: dict[tuple[str, str], list[Strike]] = {}
    with scratch() as root:
        for name in MAKERS:
            try:
                with started(name, Path(root)) as nodes:
                    for how, count in (QUICK_STRIKES if quick else STRIKES).items():
                        strikes = (_strike(nodes, how, number) for number in range(count))
                        found[name, how] = list(strikes)
            except Missing as missing:
                yield skipped(name, str(missing))
    for how in STRIKES:
        yield from rows(how, found["tidelog", how], found.get(("kafka", how)))


def _strike(nodes: Nodes, how: str, number: int) -> Strike:
    """Strike one node, and return once all three are in sync again."""
    topic = f"{how}-{number}"
    make(nodes, [topic], PARTITIONS)
    settle(nodes, PARTITIONS)
    led = leaders(nodes, topic)
    controls = nodes.quorum_leader()
    victim = victim_of(set(led.values()), controls, number)
    load = Acks(nodes.brokers, topic, PARTITIONS)
    load.start()
    load.wait_all(time.monotonic())
    time.sleep(BEFORE_S)
    struck = time.monotonic()
    if how == "kill":
        nodes.kill(victim)
    else:
        nodes.stop(victim)
    load.wait_all(time.monotonic())
    time.sleep(BEFORE_S)
    load.stop()
    nodes.start([victim])
    settle(nodes, PARTITIONS)
    gap_s = longest_gap_s(load.acks, since_s=struck)
    return Strike(gap_s, load.kept(), len(load.failed), victim == controls)
