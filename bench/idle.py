"""Idle: a node that nobody talks to.

What bounds it: what is imported, and timers.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.machine import scratch
from bench.rows import Row, promised
from bench.server import cpu_s, rss_mib, switches
from bench.tidelog_node import tidelog

SETTLE_S: Final = 5
WATCH_S: Final = 20
QUICK_WATCH_S: Final = 5
RSS_MIB_MAX: Final = 100
CPU_PERCENT_MAX: Final = 1
WAKES_MAX: Final = 20


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield memory, CPU and wake-ups of an idle node."""
    watch_s = QUICK_WATCH_S if quick else WATCH_S
    with scratch() as root, tidelog(Path(root, "idle")) as node:
        time.sleep(SETTLE_S)
        before, woken, began = cpu_s(node.pid), switches(node.pid), time.monotonic()
        time.sleep(watch_s)
        took = time.monotonic() - began
        percent = (cpu_s(node.pid) - before) / took * 100
        wakes = (switches(node.pid) - woken) / took
        figures = (
            ("RSS MiB", rss_mib(node.pid), RSS_MIB_MAX),
            ("CPU %", percent, CPU_PERCENT_MAX),
            ("wake-ups/s", wakes, WAKES_MAX),
        )
    for unit, value, most in figures:
        yield promised("idle", unit=unit, ours=value, most=most)
