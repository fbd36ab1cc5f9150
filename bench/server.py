"""A server under measurement: started as a process, and looked at only as any process can be."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

START_S_MAX: Final = 120
STOP_S_MAX: Final = 300
"""A Kafka node with thousands of partitions syncs the files of each as it stops."""


class Server(Protocol):
    """Tidelog or a peer."""

    name: str
    pid: int
    brokers: str
    """HOST:PORT of its Kafka listener."""


@dataclass(slots=True)
class Running:
    """A `Server` in a process of its own."""

    name: str
    pid: int
    brokers: str
    doors: Mapping[str, str] = field(default_factory=dict)
    """HOST:PORT of each other listener, by its name."""


def cpu_s(pid: int) -> float:
    """Return user and system time of all threads of a process, those that ended included; s.

    By the clock that the process has for it, in ns; /proc tells ticks of 10 ms. The clock's number
    is what clock_getcpuclockid(3) makes of a process's: inverted, and behind it three bits that say
    2, as the scheduler counts. Python has that call for threads alone.

    Raises:
        OSError: there is no such process.
    """
    return time.clock_gettime((~pid << 3) | 2)


def rss_mib(pid: int) -> float:
    """Return the memory of a process that is in RAM, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def switches(pid: int) -> int:
    """Return how often the threads of a process went to sleep and were woken again."""
    woken = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                woken += int(line.split()[1])
    return woken


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@contextlib.contextmanager
def process(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; end it in order, and by force if it does not."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            pass_fds=pass_fds,
        )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_for_port(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return once somebody listens.

    Raises:
        RuntimeError: the process ended, or it takes too long; with the end of its log.
    """
    give_up = time.monotonic() + START_S_MAX
    while time.monotonic() < give_up and child.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.02)
    end = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
    raise RuntimeError(f"no server on port {port}:\n{end}")
