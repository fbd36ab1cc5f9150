"""Start: from before exec to every door open, as `--ready-fd` tells.

What bounds it: importing our own modules and those of gRPC, and, in an empty directory, writing the
first journal file full of zeros. Medians of five; the target is 1.0 s on a quiet machine. CPU is
told beside it, for it hardly depends on who else is busy.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

from bench.bulk import PRODUCER
from bench.machine import Missing, compiled, scratch
from bench.rows import Row, promised, skipped
from bench.server import cpu_s
from bench.tidelog_node import tidelog

STARTS: Final = 5
READY_S_MAX: Final = 1.0
LOADED_RECORDS: Final = 1 << 20
LOADED_BYTES: Final = 1_000
"""Of a value: 1 GiB with what a batch adds."""


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield how long a start takes, on nothing and on 1 GiB after a clean stop."""
    with scratch() as root:
        with tidelog(Path(root, "warm")):
            pass  # the bytecode is there now, as it is for an installed program
        fresh = [Path(root, f"fresh-{number}") for number in range(STARTS)]
        yield _row("ready, empty directory", fresh)
        if quick:
            return
        full = Path(root, "full")
        try:
            client = compiled("bulk", "rdkafka")
        except Missing as missing:
            yield skipped("ready, 1 GiB", str(missing))
            return
        with tidelog(full, "topic_defaults.tidelog.flush=async") as node:
            what = ["produce", node.brokers, "full", "1", str(LOADED_RECORDS), str(LOADED_BYTES)]
            subprocess.run([str(client), *what, *PRODUCER], check=True, capture_output=True)
        yield _row("ready, 1 GiB after a clean stop", [full] * STARTS)


def _row(question: str, directories: list[Path]) -> Row:
    took: list[float] = []
    costs: list[float] = []
    for directory in directories:
        with tidelog(directory, ready_s=took) as node:
            costs.append(cpu_s(node.pid))
    return promised(
        question,
        unit="s",
        ours=median(took),
        most=READY_S_MAX,
        spread=(min(took), max(took)),
        more={"cpu_s": median(costs)},
    )
