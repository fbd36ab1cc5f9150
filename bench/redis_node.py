"""Redis under measurement: Debian's `redis-server`, one process, as it is but for its syncs."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.machine import Missing
from bench.server import Running, free_port, process, wait_for_port


@contextlib.contextmanager
def redis(data: Path, *, synced: bool) -> Iterator[Running]:
    """Run a fresh server that syncs before it answers, or else keeps nothing on disk.

    Raises:
        Missing: it is not installed.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise Missing("redis-server is not installed")
    data.mkdir(parents=True)
    port, log = free_port(), data.with_name(f"{data.name}.log")
    kept = ["--appendonly", "yes", "--appendfsync", "always"] if synced else ["--appendonly", "no"]
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)]
    with process([*command, "--save", "", *kept], log=log) as child:
        wait_for_port(child, port, log)
        yield Running("redis", child.pid, f"127.0.0.1:{port}")


def append(stream: bytes, value: bytes) -> bytes:
    """Return the request that appends an entry to a stream; its answer has two lines."""
    words = [b"XADD", stream, b"*", b"v", value]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
