"""Several nodes as processes of their own, which form one cluster on this machine."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.kill.node_process import HOST, NodeProcess, free_ports

SETTINGS: Final = ("log.journal_file_bytes=1MiB", "logging.format=json")
SECRET: Final = "known to the nodes of a test"
DOORS: Final = ("kafka", "grpc", "http")


@dataclass(slots=True)
class Processes:
    """Nodes 1 to n in a folder; none runs yet."""

    folder: Path
    count: int = 3
    settings: tuple[str, ...] = ()
    nodes: dict[int, NodeProcess] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(init=False)
    """A process ends with the thread that has started it: these stay."""

    def __post_init__(self) -> None:
        """Give each node a directory, a number and ports of its own."""
        self._threads = ThreadPoolExecutor(self.count)
        peers = free_ports([f"peer-{number}" for number in range(1, self.count + 1)])
        seeds = ",".join(f"{HOST}:{port}" for port in peers.values())
        for number in range(1, self.count + 1):
            own = (
                f"node.id={number}",
                "cluster.id=tide",
                f"cluster.seeds={seeds}",
                f"cluster.secret={SECRET}",
                f"listeners.peer.bind={HOST}:{peers[f'peer-{number}']}",
            )
            said = self.folder / f"said-{number}"
            said.mkdir(parents=True)
            self.nodes[number] = NodeProcess(
                self.folder / f"node-{number}",
                (*SETTINGS, *own, *self.settings),
                said,
                ports=free_ports(DOORS),
            )

    def start(self, numbers: Iterable[int] | None = None) -> None:
        """Start nodes together, all of them if none is named; return once all serve.

        Raises:
            NodeFailed: one did not, with its last words.
        """
        wanted = list(self.nodes if numbers is None else numbers)
        for _ in self._threads.map(lambda number: self.nodes[number].start(), wanted):
            pass

    def kafka(self) -> str:
        """Return where Kafka clients may begin."""
        return ",".join(node.doors.kafka for node in self.nodes.values())

    def url(self) -> str:
        """Return where clients of the SDK may begin."""
        return "tidelog://" + ",".join(node.doors.grpc for node in self.nodes.values())

    def events(self, number: int) -> list[dict[str, Any]]:
        """Return what a node has said since it was started last."""
        return self.nodes[number].events()

    def close(self) -> None:
        """End all of them."""
        for node in self.nodes.values():
            node.close()
        self._threads.shutdown()

    def shown(self) -> str:
        """Return the last words of each, for who must find out what went wrong."""
        return "\n".join(
            json.dumps(event) for number in self.nodes for event in self.events(number)[-20:]
        )
