"""Three Kafka nodes under measurement: KRaft, each controller and broker, as they are shipped.

But for three replicas of each topic, two of which must have a record before it is acknowledged.
"""

import socket
import struct
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Final

from bench.cluster.nodes import NUMBERS, once_known
from bench.kafka_node import command, form
from bench.requests import framed
from bench.server import process, wait_for_port
from tests.kill.node_process import ENDS_WITH_US, HOST, free_ports

DESCRIBE_QUORUM_V0: Final = (55, 0, 1)
"""API key, version, correlation id."""
METADATA_LOG: Final = b"__cluster_metadata"
ANSWER_S_MAX: Final = 5.0
REPLICATED: Final = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}


class KafkaNodes:
    """See `nodes.Nodes`."""

    def __init__(self, folder: Path) -> None:
        """Begin in a folder that is empty.

        Raises:
            Missing: the jars are not here, and cannot be fetched.
        """
        self.name = "kafka"
        self._folder = folder
        self._doors = free_ports([f"door-{number}" for number in NUMBERS])
        quorum = free_ports([f"quorum-{number}" for number in NUMBERS])
        self._running: dict[int, tuple[Popen[bytes], ExitStack]] = {}
        voters = [f"{number}@{HOST}:{quorum[f'quorum-{number}']}" for number in NUMBERS]
        for number in NUMBERS:
            at, controls = self.address(number), f"{HOST}:{quorum[f'quorum-{number}']}"
            lines = {
                "process.roles": "broker,controller",
                "node.id": str(number),
                "listeners": f"PLAINTEXT://{at},CONTROLLER://{controls}",
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.voters": ",".join(voters),
                "log.dirs": str(folder / f"node-{number}" / "logs"),
                "num.partitions": "1",
                **REPLICATED,
            }
            form(self._properties(number), lines)

    @property
    def brokers(self) -> str:
        """HOST:PORT of each Kafka listener."""
        return ",".join(map(self.address, NUMBERS))

    @property
    def pids(self) -> Mapping[int, int]:
        """The processes that run, by the node's number."""
        return {number: child.pid for number, (child, _) in self._running.items()}

    def address(self, number: int) -> str:
        """Return HOST:PORT of a node's Kafka listener."""
        return f"{HOST}:{self._doors[f'door-{number}']}"

    def start(self, numbers: Iterable[int] = NUMBERS) -> None:
        """Start nodes together; return once each listens, which it does as part of the cluster."""
        wanted = list(numbers)
        for number in wanted:
            life = ExitStack()
            running = [*ENDS_WITH_US, *command(self._properties(number))]
            child = life.enter_context(process(running, log=self._log(number)))
            self._running[number] = child, life
        for number in wanted:
            child, _ = self._running[number]
            port = self._doors[f"door-{number}"]
            wait_for_port(child, port, self._log(number))

    def kill(self, number: int) -> None:
        """End a node at once (SIGKILL)."""
        child, life = self._running.pop(number)
        child.kill()
        child.wait()
        life.close()

    def stop(self, number: int) -> None:
        """Ask a node to stop (SIGTERM); return once it has ended."""
        _, life = self._running.pop(number)
        life.close()

    def quorum_leader(self) -> int:
        """Return who leads the controllers."""

        def look() -> int | None:
            for number in self._running:
                try:
                    return _quorum_leader(self._doors[f"door-{number}"])
                except (OSError, struct.error):  # it is not there, or does not know
                    continue
            return None

        return once_known(look, "who leads Kafka's quorum")

    def close(self) -> None:
        """Leave no process behind: what they had is thrown away."""
        for number in list(self._running):
            self.kill(number)

    def _properties(self, number: int) -> Path:
        return self._folder / f"node-{number}" / "server.properties"

    def _log(self, number: int) -> Path:
        return self._folder / f"node-{number}.log"


def _quorum_leader(port: int) -> int | None:
    """Ask one node with DescribeQuorum; None: it knows of no leader."""
    name = bytes([len(METADATA_LOG) + 1]) + METADATA_LOG
    partitions = b"\x02" + struct.pack(">i", 0) + b"\x00"  # one: number 0, no tags
    body = b"\x00" + b"\x02" + name + partitions + b"\x00" + b"\x00"
    with (
        socket.create_connection((HOST, port), ANSWER_S_MAX) as connection,
        connection.makefile("rb") as answers,
    ):
        connection.sendall(framed(DESCRIBE_QUORUM_V0, body))
        answer = answers.read(*struct.unpack(">i", answers.read(4)))
    # Behind: correlation id, tags, error, topics, name, partitions, number, error.
    (leader,) = struct.unpack_from(">i", answer, 4 + 1 + 2 + 1 + len(name) + 1 + 4 + 2)
    return leader if leader > 0 else None
