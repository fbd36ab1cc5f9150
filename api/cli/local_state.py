"""What `tidelog local` keeps between its commands: the directory of a cluster on this machine.

    DIR/local.json     which nodes there are, their ports, the processes that ran last
    DIR/secret         by which the nodes know each other; for its owner alone
    DIR/node-1/        the data directory of node 1: what a volume is to a container
    DIR/node-1.log     what node 1 has printed; the older half is DIR/node-1.log.1
    DIR/node-1.exit    how its last process has ended; absent while it runs
    DIR/lock           held by a command that changes something

Nothing else in the directory is ever touched.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Final, TextIO

import msgspec

from api.cli.local_logs import put_aside
from api.cli.local_ports import Ports
from api.cli.local_process import Standing, Watched, standing
from api.node.system_rand import SystemRand
from tidelog.cli.failure import CommandFailed, Exit

VERSION: Final = 1
SECRET_BYTES: Final = 32
LOG_BYTES_MAX: Final = 16 << 20
"""A log that is longer when its node starts is put aside, in place of the one before."""


@dataclass(frozen=True, slots=True)
class LocalNode:
    """One node of the cluster."""

    number: int
    ports: Ports
    process: Watched | None = None
    """The one that was started last; it may have ended."""


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """What is written in `local.json`."""

    cluster_id: str
    nodes: tuple[LocalNode, ...]
    founders: int
    """The first so many are the seeds: one that comes later joins what they have founded."""
    overrides: tuple[str, ...] = ()
    """`section.key=value` for every node."""
    version: int = VERSION

    @property
    def seeds(self) -> str:
        """Where the founders listen for each other."""
        return ",".join(one.ports.address("peer") for one in self.nodes[: self.founders])

    def node(self, number: int) -> LocalNode:
        """Return a node by its number, which is its place."""
        return self.nodes[number - 1]

    def running(self) -> list[LocalNode]:
        """Return the nodes whose processes are there, also the paused ones."""
        return [one for one in self.nodes if standing_of(one) is not Standing.GONE]


def standing_of(node: LocalNode) -> Standing:
    """Tell what the process of a node does."""
    return Standing.GONE if node.process is None else standing(node.process.process)


def running(nodes: Iterable[LocalNode]) -> set[int]:
    """Return the numbers of those whose processes are there, also the paused ones."""
    return {one.number for one in nodes if standing_of(one) is not Standing.GONE}


class Home:
    """The directory of a local cluster. Its paths are absolute."""

    def __init__(self, directory: str) -> None:
        """Touch nothing; `directory` is shown as it was named."""
        self.shown = directory
        self.path = Path(directory).absolute()
        self.secret = self.path / "secret"
        self._state = self.path / "local.json"
        self._lock = self.path / "lock"

    @property
    def option(self) -> str:
        """Return what names it on a command line, to be copied from a hint."""
        return f"--data {quote(self.shown)}"

    def data(self, number: int) -> Path:
        """Return the data directory of a node."""
        return self.path / f"node-{number}"

    def log(self, number: int) -> Path:
        """Return the file of what a node prints."""
        return self.path / f"node-{number}.log"

    def exit_file(self, number: int) -> Path:
        """Return the file of the exit code of a node's last process."""
        return self.path / f"node-{number}.exit"

    def exit_code(self, number: int) -> int | None:
        """Return how the last process of a node has ended; None: nobody saw it."""
        try:
            text = self.exit_file(number).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        return int(text) if text.isdigit() else None

    def read(self) -> LocalCluster | None:
        """Return the cluster; None: there is none here.

        Raises:
            CommandFailed: the file is damaged, or of a newer release.
        """
        try:
            content = self._state.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            cluster = msgspec.json.decode(content, type=LocalCluster)
        except msgspec.DecodeError as malformed:
            raise CommandFailed(
                f"{self._state}: {malformed}",
                hint="end its nodes by hand (ps), and move the directory away",
            ) from malformed
        if cluster.version > VERSION:
            raise CommandFailed(
                f"{self._state}: format {cluster.version}, this program knows {VERSION}",
                hint="use the newer Tidelog that wrote it",
                exit_code=Exit.NEWER_FORMAT,
            )
        return cluster

    def expect(self) -> LocalCluster:
        """Return the cluster that must be here.

        Raises:
            CommandFailed: there is none.
        """
        cluster = self.read()
        if cluster is None:
            raise CommandFailed(
                f"there is no local cluster in {self.shown}",
                hint="make one with: tidelog local start; or name its directory: --data DIR",
            )
        return cluster

    def write(self, cluster: LocalCluster) -> None:
        """Keep a cluster: the whole file at once."""
        whole = self._state.with_suffix(".json.new")
        with whole.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(cluster)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        whole.replace(self._state)

    def make_secret(self) -> None:
        """Draw the secret of the cluster, once."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            descriptor = os.open(self.secret, flags, 0o600)
        except FileExistsError:
            return
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{SystemRand().randbytes(SECRET_BYTES).hex()}\n")

    def turn_log(self, number: int) -> int:
        """Put a long log aside; return where the next line will stand, in bytes."""
        log = self.log(number)
        if not log.exists():
            return 0
        if (size := log.stat().st_size) <= LOG_BYTES_MAX:
            return size
        log.replace(put_aside(log))
        return 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other command that changes something away.

        Raises:
            CommandFailed: another one is at work; exit 3.
        """
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            with self._lock.open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise CommandFailed(
                        f"another tidelog local command is at work on {self.shown}",
                        hint="wait for it, or end it",
                        exit_code=Exit.NOT_NOW,
                    ) from None
                if self._is_lock(lock):
                    yield
                    return

    def _is_lock(self, lock: TextIO) -> bool:
        """Tell whether an open file is the lock; a purge has deleted it else, once it was open."""
        try:
            return os.path.samestat(os.fstat(lock.fileno()), self._lock.stat())
        except FileNotFoundError:
            return False

    def wipe(self, numbers: Sequence[int]) -> None:
        """Delete the data of nodes; they stay nodes of the cluster."""
        for number in numbers:
            if self.data(number).exists():
                shutil.rmtree(self.data(number))

    def purge(self, cluster: LocalCluster) -> None:
        """Delete everything that is ours, and the directory if nothing else is in it."""
        numbers = [one.number for one in cluster.nodes]
        self.wipe(numbers)
        logs = [self.log(number) for number in numbers]
        exits = [self.exit_file(number) for number in numbers]
        older = map(put_aside, logs)
        for file in (*logs, *older, *exits, self.secret, self._state, self._lock):
            file.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()
