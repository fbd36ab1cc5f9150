"""What every client process is told, and how long it goes on: until its stdin ends.

python -m tests.chaos.nodes_sdk_writers ADDRESS FOLDER RATE
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import NamedTuple

from tests.chaos.history import History
from tests.chaos.nodes_plan import PARTITIONS


class Orders(NamedTuple):
    """What a client process is told."""

    address: str
    """Where clients of its door may begin."""
    folder: Path
    """Where histories go."""
    rate: float
    """Records a second that each producer sends to each partition."""


def orders(arguments: list[str]) -> Orders:
    """Return what the command line says."""
    address, folder, rate = arguments
    return Orders(address, Path(folder), float(rate))


def until_told() -> Event:
    """Return what is set once nobody wants this process to go on."""
    over = Event()

    def read() -> None:
        sys.stdin.buffer.read()
        over.set()

    Thread(target=read, daemon=True).start()
    return over


def together(jobs: Sequence[Callable[[], None]], over: Event) -> None:
    """Run each job in a thread of its own; with one that fails all are over, and it is told."""
    with ThreadPoolExecutor(len(jobs)) as threads:
        running = [threads.submit(job) for job in jobs]
        wait(running, return_when=FIRST_EXCEPTION)
        over.set()
    for one in running:
        one.result()


def histories(folder: Path, name: str) -> Iterator[History]:
    """Yield a history for each time that a client begins anew: who comes back is another one."""
    number = 1
    while True:
        yield History(folder, name if number == 1 else f"{name}-{number}")
        number += 1


def tell(line: str) -> None:
    """Tell whoever started this process that something is worth a look."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Pace:
    """Spreads sends evenly: each partition has its turn once a round."""

    def __init__(self, rate: float, clock: Callable[[], float] = monotonic) -> None:
        """Begin now."""
        self._step_s = 1 / (rate * PARTITIONS)
        self._clock = clock
        self._began = clock()
        self._turn = 0

    def due(self) -> list[int]:
        """Return the partitions whose turn has come; what was missed for long is left out."""
        ready = int((self._clock() - self._began) / self._step_s)
        first = max(self._turn, ready - PARTITIONS)
        self._turn = ready
        return [turn % PARTITIONS for turn in range(first, ready)]
