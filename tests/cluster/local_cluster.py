"""A cluster as its user has it: started, stopped and looked at by `tidelog local` alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Final

from tests.cluster import topics
from tests.cluster.topics import Partition
from tests.cluster.waiting import LOOK_S, PATIENCE_S, Broken, until
from tests.kill.node_process import HOST, ROOT, NodeFailed, NodeProcess, free_ports

SETTINGS: Final = ("log.journal_file_bytes=4MiB", "log.reserve_bytes=16MiB")
"""Small journals, so that directories are quickly copied."""
FENCED: Final = 12


@dataclass(slots=True)
class Ran:
    """A run of the command line."""

    code: int
    out: str
    err: str

    @property
    def items(self) -> list[dict[str, Any]]:
        """Return the rows of a command that put out JSON."""
        found: list[dict[str, Any]] = json.loads(self.out)["items"]
        return found


@dataclass(slots=True)
class LocalCluster:
    """Nodes 1 to n in a folder; none runs yet."""

    folder: Path
    count: int = 3
    strangers: list[NodeProcess] = field(default_factory=list)
    """Nodes that were started by hand beside it."""

    def run(self, *words: str) -> Ran:
        """Run `tidelog local` to its end, with JSON as output."""
        command = [sys.executable, "-m", "tidelog", "local", *words]
        command += ["--data", str(self.folder), "-F", "json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)

    def done(self, *words: str) -> Ran:
        """Run `tidelog local`, which must succeed.

        Raises:
            Broken: it does not.
        """
        ran = self.run(*words)
        if ran.code != 0:
            raise Broken(f"tidelog local {' '.join(words)}: exit {ran.code}: {ran.err.strip()}")
        return ran

    def begin(self) -> Ran:
        """Start the cluster for the first time."""
        given = [word for setting in SETTINGS for word in ("-X", setting)]
        return self.done("start", "-n", str(self.count), "--any-port", *given)

    def rows(self) -> dict[int, dict[str, Any]]:
        """Return what `status` says of each node."""
        return {row["node"]: row for row in self.done("status").items}

    @property
    def known(self) -> Mapping[str, Any]:
        """Return what the cluster's directory says."""
        found: Mapping[str, Any] = json.loads((self.folder / "local.json").read_text())
        return found

    def address(self, number: int, door: str) -> str:
        """Return where a node listens."""
        return f"{HOST}:{self.known['nodes'][number - 1]['ports'][door]}"

    def addresses(self, door: str) -> str:
        """Return where clients may begin."""
        return ",".join(self.address(row["number"], door) for row in self.known["nodes"])

    def data(self, number: int) -> Path:
        """Return the data directory of a node."""
        return self.folder / f"node-{number}"

    def signal(self, numbers: list[int], what: signal.Signals) -> None:
        """Signal nodes at once, without the command line's start-up in between."""
        for number in numbers:
            os.kill(self.known["nodes"][number - 1]["process"]["process"]["pid"], what)

    def events(self, number: int) -> list[dict[str, Any]]:
        """Return all that a node has ever logged."""
        log = self.folder / f"node-{number}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return [json.loads(line) for line in lines if line.startswith('{"ts"')]

    def controller(self) -> int:
        """Return who leads the quorum."""
        found = until(
            lambda: (
                next((row["controller"] for row in self.rows().values() if row["controller"]), 0)
                or None
            ),
            "a controller",
        )
        return int(found)

    def metadata(self, topic: str) -> dict[int, Partition]:
        """Return what Kafka clients are told of each partition."""
        return topics.described(self.addresses("kafka"), topic)

    def leader(self, topic: str, partition: int) -> int:
        """Return who leads a partition, once somebody does."""
        return topics.leader(self.addresses("kafka"), partition, topic)

    def in_sync(self, topic: str) -> None:
        """Wait until every replica of a topic is in sync.

        Raises:
            NotInTime: they are not.
        """
        topics.in_sync(self.addresses("kafka"), "now", topic)

    def stranger(
        self,
        number: int,
        *,
        directory: Path,
        cluster_id: str | None = None,
        seeds: str | None = None,
    ) -> NodeProcess:
        """Return a node that nobody has asked for: `tidelog serve` by hand, not started yet."""
        known = self.known
        peers = ",".join(self.address(one + 1, "peer") for one in range(known["founders"]))
        (port,) = free_ports(["peer"]).values()
        said = self.folder.with_name(f"{self.folder.name}-stranger-{len(self.strangers)}")
        said.mkdir(parents=True)
        settings = (
            *SETTINGS,
            "logging.format=json",
            f"node.id={number}",
            f"cluster.id={cluster_id or known['cluster_id']}",
            f"cluster.seeds={seeds or peers}",
            f"cluster.secret_file={self.folder / 'secret'}",
            f"listeners.peer.bind={HOST}:{port}",
        )
        ports = free_ports(("kafka", "grpc", "http"))
        node = NodeProcess(directory, settings, said, ports=ports)
        self.strangers.append(node)
        return node

    def close(self) -> None:
        """Leave no process and no file behind."""
        for node in self.strangers:
            node.close()
        if (self.folder / "local.json").exists():
            self.run("stop", "--kill")
            self.run("purge", "--yes")


def refused(node: NodeProcess) -> str:
    """Start a node that must be refused; return what it said.

    Raises:
        Broken: it runs, or ended otherwise.
    """
    began = monotonic()
    try:
        node.start()
    except NodeFailed:  # it ended before its doors were open
        pass
    end = began + PATIENCE_S
    while node.running and monotonic() < end:
        Event().wait(LOOK_S)
    if node.running:
        last = node.last_words()[-600:]
        node.kill()
        raise Broken(f"runs on beside the others after {PATIENCE_S:.0f} s: {last}")
    code, words = node.wait(), node.last_words()
    if code != FENCED:
        raise Broken(f"ended with exit code {code} in place of {FENCED}: {words[-600:]}")
    told = [line for line in words.splitlines() if line.startswith("error:")]
    return f"exit {code} after {monotonic() - began:.1f} s: {' '.join(told) or words[-300:]}"


def copy(source: Path, target: Path) -> None:
    """Copy a data directory as it is."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
