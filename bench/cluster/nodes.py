"""Three nodes under measurement, Tidelog's or Kafka's: started, struck, frozen, and what they cost.

Two clusters take turns on the same cores: whoever is not asked is frozen (SIGSTOP), and has some
time to find itself again before it is measured.
"""

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol, TypeVar

from bench.server import cpu_s
from tests.cluster.waiting import until

NUMBERS: Final = (1, 2, 3)
KNOWN_S_MAX: Final = 120.0
"""A cluster that has not come to it by then never will."""
LOOK_S: Final = 0.1
T = TypeVar("T")


class Nodes(Protocol):
    """A cluster of three on this machine; a node keeps its number, directory and addresses."""

    name: str

    @property
    def brokers(self) -> str:
        """HOST:PORT of each Kafka listener."""
        ...

    @property
    def pids(self) -> Mapping[int, int]:
        """The processes that run, by the node's number."""
        ...

    def address(self, number: int) -> str:
        """Return HOST:PORT of a node's Kafka listener."""
        ...

    def start(self, numbers: Iterable[int] = NUMBERS) -> None:
        """Start nodes together; return once each is part of the cluster."""
        ...

    def kill(self, number: int) -> None:
        """End a node at once (SIGKILL)."""
        ...

    def stop(self, number: int) -> None:
        """Ask a node to stop (SIGTERM); return once it has ended."""
        ...

    def quorum_leader(self) -> int:
        """Return who leads the controllers."""
        ...

    def close(self) -> None:
        """Leave no process behind."""
        ...


def cluster_cpu_s(nodes: Nodes) -> float:
    """Return the CPU time of all its processes, s."""
    return sum(map(cpu_s, nodes.pids.values()))


def freeze(nodes: Nodes) -> None:
    """Stop every thread of a cluster where it is."""
    for pid in nodes.pids.values():
        os.kill(pid, signal.SIGSTOP)


def thaw(nodes: Nodes) -> None:
    """Let a cluster go on; it may be busy with itself for a while."""
    for pid in nodes.pids.values():
        os.kill(pid, signal.SIGCONT)


def once_known(look: Callable[[], T | None], what: str, *, every_s: float = LOOK_S) -> T:
    """Return what `look` finds as soon as it finds something, but None and False.

    Raises:
        NotInTime: it does not.
    """
    return until(look, what, patience_s=KNOWN_S_MAX, every_s=every_s)
