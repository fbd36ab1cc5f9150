"""Three nodes that can be killed, paused, cut off, and lose their power; all of it is put back.

A disk that lies may give back its directory as it was before the node's latest start. The node then
refuses it as an older copy, or as one that lacks what it has acknowledged, and the way back is the
documented one: the directory is emptied, and the node copies everything anew. That is done for
liars alone, and told.

Without a network of their own the nodes are on the loopback address; without volumes their
directories are in the folder.
"""

import shutil
import signal
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from tests.chaos.nodes_network import Network
from tests.chaos.nodes_plan import NUMBERS
from tests.cluster.processes import JOINED, SETTINGS, Processes
from tests.kill.node_process import NodeFailed, NodeProcess
from tests.powercut.volume import Volume, volume

PORTS: Final = {"kafka": 9092, "grpc": 9095, "http": 8080}
PEER_PORT: Final = 9093
DEVICE_BYTES: Final = 4 << 30
"""Of each volume; a run of all 110 faults fills a quarter of it."""
NODE_SETTINGS: Final = ("log.checkpoint_ms=5000",)
"""Often, so that recovery meets checkpoints of every age."""
REFUSED: Final = frozenset({11, 12})
"""Exit codes of a node that does not take its own directory for whole, or for the newest."""
DAMAGE: Final = '"event":"log_corrupt"'
"""In a log line of a node that believes its files to be damaged."""


class Ended(NamedTuple):
    """A node's process that is no more."""

    node: int
    code: int
    """Its exit code."""
    odd: list[str]
    """Lines that are no log lines: a traceback, say."""
    damage: list[str]
    """Log lines that tell of damaged files."""


@dataclass(slots=True)
class World:
    """The nodes and what they stand on; use it in `with`."""

    folder: Path
    has_network: bool = False
    has_volumes: bool = False
    environment: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """What is added to each node's."""
    liars: frozenset[int] = frozenset()
    """Nodes whose disks do not keep their word."""
    emptied: list[int] = field(default_factory=list)
    """Whose directories were refused, and emptied: a node each time."""
    volumes: dict[int, Volume] = field(default_factory=dict)
    ends: list[Ended] = field(default_factory=list)
    _network: Network | None = None
    _cluster: Processes = field(init=False)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "World":
        """Make all of it; no node runs yet."""
        with ExitStack() as stack:
            if self.has_network:
                self._network = Network(NUMBERS)
                stack.callback(self._network.close)
            if self.has_volumes:
                for number in NUMBERS:
                    below = self.folder / f"disk-{number}"
                    below.mkdir()
                    self.volumes[number] = stack.enter_context(volume(below, DEVICE_BYTES))
            self._cluster = Processes(self.folder, settings=NODE_SETTINGS)
            stack.callback(self._cluster.close)
            for number, node in self.nodes.items():
                self._settle(number, node)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End every process that was started here, and give everything back."""
        self._stack.close()

    @property
    def nodes(self) -> dict[int, NodeProcess]:
        """The nodes by their numbers."""
        return self._cluster.nodes

    @property
    def network(self) -> Network:
        """The network; there is one if it was asked for."""
        assert self._network is not None, "this world has no network of its own"
        return self._network

    def kafka(self) -> str:
        """Return where Kafka clients may begin."""
        return self._cluster.kafka()

    def url(self) -> str:
        """Return where clients of the SDK may begin."""
        return self._cluster.url()

    def start(self, numbers: Iterable[int] = NUMBERS) -> float:
        """Start nodes; return when the last of them was up, on the monotonic clock, in s.

        Raises:
            NodeFailed: one did not start, or did not join.
        """
        wanted = list(numbers)
        try:
            self._cluster.open(wanted)
        except NodeFailed:
            if self.liars.isdisjoint(wanted):
                raise  # else whoever has failed is found below
        up = monotonic()
        for number in wanted:
            try:
                self._cluster.until(number, JOINED)
            except NodeFailed:
                if number not in self.liars or not self._refuses_its_directory(number):
                    raise
                self._empty(number)
                up = monotonic()
                self._cluster.until(number, JOINED)
        return up

    def _refuses_its_directory(self, number: int) -> bool:
        node = self.nodes[number]
        return not node.running and node.wait() in REFUSED

    def _empty(self, number: int) -> None:
        """Begin anew with a node whose disk has lied, as its refusal says."""
        self._note_end(number, self.nodes[number].wait())
        self.emptied.append(number)
        shutil.rmtree(self.directory(number))
        self._cluster.open([number])

    def kill(self, numbers: Iterable[int]) -> None:
        """End nodes at once (SIGKILL), all in the same moment."""
        victims = [(number, self.nodes[number]) for number in numbers]
        for _, node in victims:
            node.signal(signal.SIGKILL)
        for number, node in victims:
            self._note_end(number, node.wait())

    def cut_power(self, order: Iterable[int]) -> None:
        """Let no disk keep what it has not written; then kill the nodes; then mount again."""
        numbers = list(order)
        for number in numbers:
            self.volumes[number].cut()
        for number in numbers:
            if self.nodes[number].running:  # it may have noticed, and have ended by itself
                self.nodes[number].signal(signal.SIGKILL)
        for number in numbers:
            self._note_end(number, self.nodes[number].wait())
        for number in numbers:
            self.volumes[number].unmount()
            self.volumes[number].mount()

    def stop(self) -> None:
        """Stop all nodes in order."""
        for number, node in self.nodes.items():
            self._note_end(number, node.terminate())

    def directory(self, number: int) -> Path:
        """Return where a node's files are."""
        return self.nodes[number].directory

    def dead(self) -> list[int]:
        """Return which nodes do not run."""
        return [number for number, node in self.nodes.items() if not node.running]

    def _note_end(self, number: int, code: int) -> None:
        node = self.nodes[number]
        self.ends.append(Ended(number, code, node.odd_lines(), told_of_damage(node)))

    def _settle(self, number: int, node: NodeProcess) -> None:
        """Put a node where it belongs."""
        node.environment = self.environment.get(number, {})
        if self.volumes:
            node.directory = self.volumes[number].path / "data"
        if self._network is not None:
            network = self._network
            node.host, node.within = network.address(number), network.within(number)
            node.ports = dict(PORTS)
            node.settings = (*SETTINGS, *NODE_SETTINGS, *_networked(network, number))


def told_of_damage(node: NodeProcess) -> list[str]:
    """Return the lines in which a node's latest process has told of damaged files."""
    lines = (node.said / f"node-{node.starts:04d}.log").read_text(errors="replace").splitlines()
    return [line for line in lines if DAMAGE in line]


def _networked(network: Network, number: int) -> tuple[str, ...]:
    """Return the settings of a node with an address of its own."""
    seeds = ",".join(f"{network.address(one)}:{PEER_PORT}" for one in NUMBERS)
    return (
        f"node.id={number}",
        "cluster.id=tide",
        f"cluster.seeds={seeds}",
        "cluster.secret=known to the nodes of a test",
        f"listeners.peer.bind={network.address(number)}:{PEER_PORT}",
        "security.mode=open",
    )
