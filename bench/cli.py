"""The command line: from before exec to exit, its output read, as an installed program.

What bounds it: the interpreter's own start, then imports: click; for a command that asks a node,
the SDK with asyncio, gRPC and protobuf as well. Medians, after a run that is not counted. CPU is
told beside the time, for it hardly depends on who else is busy.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Final, NamedTuple

from bench.machine import scratch
from bench.rows import Row, promised
from bench.tidelog_node import environment, tidelog

RUNS: Final = 21
QUICK_RUNS: Final = 5
HELP_MS_MAX: Final = 150
LIST_MS_MAX: Final = 300
TOPICS: Final = ("orders", "payments", "shipments")


class Ran(NamedTuple):
    """What one run of a command took."""

    wall_ms: float
    cpu_ms: float


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield how long the help takes, and a list of a running node's topics."""
    runs = QUICK_RUNS if quick else RUNS
    with scratch() as root, tidelog(Path(root, "node")) as node:
        env = environment() | {"XDG_CONFIG_HOME": root}  # not what this machine's user has set
        at = ("-X", f"client.address={node.doors['grpc']}")
        ran(("topic", "create", *TOPICS, "--yes", *at), shows=TOPICS[0], env=env)
        for words, options, shows, most_ms in (
            ("--help", (), "COMMANDS", HELP_MS_MAX),
            ("topic list", at, TOPICS[-1], LIST_MS_MAX),
        ):
            command = (*words.split(), *options)
            ran(command, shows=shows, env=env)  # its bytecode is there now, as if installed
            took = [ran(command, shows=shows, env=env) for _ in range(runs)]
            walls = [one.wall_ms for one in took]
            yield promised(
                f"tidelog {words}",
                unit="ms",
                ours=median(walls),
                most=most_ms,
                spread=(min(walls), max(walls)),
                more={"cpu_ms": median(one.cpu_ms for one in took)},
            )


def ran(command: Sequence[str], *, shows: str, env: Mapping[str, str]) -> Ran:
    """Return what one run of `tidelog COMMAND` took.

    Raises:
        RuntimeError: it failed, or does not show what it should: then its time tells nothing.
    """
    cpu, began = _children_cpu_s(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tidelog", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    took = Ran((time.perf_counter() - began) * 1e3, (_children_cpu_s() - cpu) * 1e3)
    if done.returncode or shows not in done.stdout:
        said = f"{done.stdout}{done.stderr}"[-2_000:]
        raise RuntimeError(f"tidelog {' '.join(command)} ended with {done.returncode}:\n{said}")
    return took


def _children_cpu_s() -> float:
    """Return user and system time of the children that were waited for, the node not among them."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
