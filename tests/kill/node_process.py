"""A real node as a process of its own, which can be stopped in its tracks, and killed."""

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO, Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
HOST: Final = "127.0.0.1"
READY_S_MAX: Final = 120.0
"""A node that is not ready after so long never will be."""
STOP_S_MAX: Final = 60.0
TAIL_CHARACTERS: Final = 2_000
ENDS_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""Begins a command whose process does not outlive ours, however ours ends."""
PORTS: Final = range(20_000, 30_000)
"""Below the ports that Linux gives to clients: none of them can take the place of a dead node."""
CLAIMS: Final = Path(tempfile.gettempdir()) / "tidelog-test-ports"
"""A file for each port that a test run has; locked while that run lives."""
_claimed: Final[list[IO[str]]] = []


class Doors(NamedTuple):
    """Where clients find the node, HOST:PORT each."""

    kafka: str
    grpc: str


class NodeFailed(Exception):  # noqa: N818 - says what happened
    """The node did not become ready, or did not end as it should have."""


@dataclass(slots=True)
class NodeProcess:
    """One directory and one set of ports, used by one process after the other."""

    directory: Path
    settings: Sequence[str]
    """`section.key=value`, as `-X` takes them."""
    said: Path
    """Where the log lines of all processes go, one file each."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to ours."""
    ports: dict[str, int] = field(default_factory=dict)
    host: str = HOST
    """The address of all its doors."""
    within: Sequence[str] = ()
    """Begins the command: enters the network that the address belongs to, say."""
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return the number of the process that runs now."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Tell whether there is a process that has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def doors(self) -> Doors:
        """Where the node listens, each time that it runs."""
        return Doors(*(f"{self.host}:{self.ports[name]}" for name in Doors._fields))

    def start(self) -> float:
        """Start the node and return the seconds that passed until every door was open.

        Raises:
            NodeFailed: it ended, or took too long; with its last words.
        """
        if not self.ports:
            self.ports = free_ports(Doors._fields)
        self.starts += 1
        arguments = [*ENDS_WITH_US, *self.within, sys.executable, "-m", "tidelog", "serve"]
        told, ready = os.pipe()
        arguments += ["--ready-fd", str(ready), "-X", f"node.data_dir={self.directory}"]
        for door in ("kafka", "grpc", "http"):
            bind = f"{self.host}:{self.ports[door]}" if door in self.ports else "none"
            arguments += ["-X", f"listeners.{door}.bind={bind}"]
        for setting in self.settings:
            arguments += ["-X", setting]
        before = monotonic()
        with self._log().open("wb") as log:
            self._process = subprocess.Popen(
                arguments,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[ready],
            )
        os.close(ready)
        try:
            readable, _, _ = select.select([told], [], [], READY_S_MAX)
            line = os.read(told, 4_096) if readable else b""
        finally:
            os.close(told)
        if not line:
            code = self._end_of(self._process)
            raise NodeFailed(f"not ready, exit code {code}: {self.last_words()}")
        return monotonic() - before

    def freeze(self) -> None:
        """Stop every thread where it is (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let every thread go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once (SIGKILL), and wait until nothing of it is left."""
        process = self._running()
        process.kill()
        process.wait(STOP_S_MAX)

    def terminate(self) -> int:
        """Ask it to stop (SIGTERM); return the exit code."""
        self._running().terminate()
        return self.wait()

    def signal(self, number: int) -> None:
        """Send it a signal, and wait for nothing."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Return the exit code of a process that is ending.

        Raises:
            NodeFailed: it does not end.
        """
        try:
            return self._running().wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            raise NodeFailed(f"does not end: {self.last_words()}") from None

    def close(self) -> None:
        """Leave no process behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_S_MAX)

    def events(self) -> list[dict[str, Any]]:
        """Return what the latest process has logged."""
        lines = self._log().read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"ts"')]

    def odd_lines(self) -> list[str]:
        """Return lines that are no log lines: a traceback, say."""
        lines = self._log().read_text(errors="replace").splitlines()
        return [line for line in lines if line and not line.startswith('{"ts"')]

    def last_words(self) -> str:
        """Return the end of what the latest process has said."""
        return self._log().read_text(errors="replace")[-TAIL_CHARACTERS:]

    def _log(self) -> Path:
        return self.said / f"node-{self.starts:04d}.log"

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the node was never started"
        return self._process

    @staticmethod
    def _end_of(process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(STOP_S_MAX)


def free_ports(doors: Sequence[str]) -> dict[str, int]:
    """Return a port for each door that nobody listens on and no other test run has claimed.

    A port stays claimed as long as this process lives, also while no node listens on it.
    """
    found: dict[str, int] = {}
    first = PORTS.start + os.getpid() % (len(PORTS) // 2)
    for port in range(first, PORTS.stop):
        if len(found) == len(doors):
            break
        if _claim(port):
            found[doors[len(found)]] = port
    return found


def _claim(port: int) -> bool:
    """Take a port for this process: its lock first, then a look whether somebody listens."""
    CLAIMS.mkdir(mode=0o777, exist_ok=True)
    claim = (CLAIMS / str(port)).open("a")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        claim.close()
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            claim.close()
            return False
    _claimed.append(claim)
    return True
