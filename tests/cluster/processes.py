"""Several nodes as processes of their own, which form one cluster on this machine."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Final

from tests.kill.node_process import HOST, NodeFailed, NodeProcess, free_ports

SETTINGS: Final = ("log.journal_file_bytes=1MiB", "logging.format=json")
SECRET: Final = "known to the nodes of a test"
DOORS: Final = ("kafka", "grpc", "http")
JOINED: Final = "cluster_joined"
JOINED_S_MAX: Final = 60.0
LOOK_S: Final = 0.02


@dataclass(slots=True)
class Processes:
    """Nodes 1 to n in a folder; none runs yet."""

    folder: Path
    count: int = 3
    settings: tuple[str, ...] = ()
    nodes: dict[int, NodeProcess] = field(default_factory=dict)
    _seeds: str = field(init=False)
    _beside: list[NodeProcess] = field(default_factory=list)
    _threads: ThreadPoolExecutor = field(init=False)
    """A process ends with the thread that has started it: these stay."""

    def __post_init__(self) -> None:
        """Give each node a directory, a number and ports of its own."""
        self._threads = ThreadPoolExecutor(self.count)
        peers = free_ports([f"peer-{number}" for number in range(1, self.count + 1)])
        self._seeds = ",".join(f"{HOST}:{port}" for port in peers.values())
        for number in range(1, self.count + 1):
            peer = peers[f"peer-{number}"]
            self.nodes[number] = self._process(f"{number}", self._own(number, peer))

    def beside(self, name: str, number: int, *settings: str) -> NodeProcess:
        """Return one more node with the same seeds and an address of its own; it does not run."""
        (peer,) = free_ports([name]).values()
        node = self._process(name, (*self._own(number, peer), *settings))
        self._beside.append(node)
        return node

    def _own(self, number: int, peer: int) -> tuple[str, ...]:
        return (
            f"node.id={number}",
            "cluster.id=tide",
            f"cluster.seeds={self._seeds}",
            f"cluster.secret={SECRET}",
            f"listeners.peer.bind={HOST}:{peer}",
        )

    def _process(self, name: str, own: tuple[str, ...]) -> NodeProcess:
        said = self.folder / f"said-{name}"
        said.mkdir(parents=True)
        directory = self.folder / f"node-{name}"
        settings = (*SETTINGS, *self.settings, *own)
        return NodeProcess(directory, settings, said, ports=free_ports(DOORS))

    def start(self, numbers: Iterable[int] | None = None) -> None:
        """Start nodes together, all of them if none is named; return once all serve.

        Raises:
            NodeFailed: one did not, with its last words.
        """
        wanted = list(self.nodes if numbers is None else numbers)
        self.open(wanted)
        for number in wanted:
            self.until(number, JOINED)

    def open(self, numbers: Iterable[int]) -> None:
        """Start nodes together; return once their doors are open, whether or not they joined.

        Raises:
            NodeFailed: one did not, with its last words.
        """
        for _ in self._threads.map(lambda number: self.nodes[number].start(), numbers):
            pass

    def until(self, number: int, event: str) -> dict[str, Any]:
        """Wait until a node's latest process has said something; return the line.

        Raises:
            NodeFailed: it does not.
        """
        return said(self.nodes[number], event)

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
        for node in (*self.nodes.values(), *self._beside):
            node.close()
        self._threads.shutdown()

    def shown(self) -> str:
        """Return the last words of each, for who must find out what went wrong."""
        return "\n".join(
            json.dumps(event) for number in self.nodes for event in self.events(number)[-20:]
        )


def said(node: NodeProcess, event: str) -> dict[str, Any]:
    """Wait until a node's latest process has logged an event; return the line.

    Raises:
        NodeFailed: it does not.
    """
    until = monotonic() + JOINED_S_MAX
    while True:
        found = [line for line in node.events() if line["event"] == event]
        if found:
            return found[0]
        if not node.running or monotonic() > until:
            raise NodeFailed(f"no {event}: {node.last_words()}")
        Event().wait(LOOK_S)
