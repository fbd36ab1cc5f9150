"""Three Tidelog nodes under measurement: `tidelog serve` of this tree, with its own manners."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from bench.cluster.nodes import NUMBERS, once_known
from bench.tidelog_node import environment
from tests.cluster.processes import Processes
from tidelog.errors import TidelogError
from tidelog.sync import connect

AS_SHIPPED: Final = ("log.journal_file_bytes=64MiB",)
"""Where the processes of the tests have less."""


class TidelogNodes:
    """See `nodes.Nodes`."""

    def __init__(self, folder: Path) -> None:
        """Begin in a folder that is empty."""
        self.name = "tidelog"
        self._processes = Processes(folder, settings=AS_SHIPPED)
        for node in self._processes.nodes.values():
            node.environment = environment()

    @property
    def brokers(self) -> str:
        """HOST:PORT of each Kafka listener."""
        return self._processes.kafka()

    @property
    def pids(self) -> Mapping[int, int]:
        """The processes that run, by the node's number."""
        nodes = self._processes.nodes
        return {number: node.pid for number, node in nodes.items() if node.running}

    def address(self, number: int) -> str:
        """Return HOST:PORT of a node's Kafka listener."""
        return self._processes.nodes[number].doors.kafka

    def directory(self, number: int) -> Path:
        """Return where a node keeps its data."""
        return self._processes.nodes[number].directory

    def start(self, numbers: Iterable[int] = NUMBERS) -> None:
        """Start nodes together; return once each is part of the cluster."""
        self._processes.start(numbers)

    def open(self, number: int) -> None:
        """Start a node; return once its doors are open."""
        self._processes.open([number])

    def kill(self, number: int) -> None:
        """End a node at once (SIGKILL)."""
        self._processes.nodes[number].kill()

    def stop(self, number: int) -> None:
        """Ask a node to stop (SIGTERM); return once it has ended."""
        self._processes.nodes[number].terminate()

    def quorum_leader(self) -> int:
        """Return who leads the controllers."""
        with connect(self._processes.url()) as client:

            def look() -> int | None:
                try:
                    return client.cluster.quorum().leader
                except TidelogError:
                    return None

            return once_known(look, "who leads the quorum")

    def close(self) -> None:
        """Leave no process behind."""
        self._processes.close()
