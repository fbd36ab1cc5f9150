"""NATS JetStream under measurement: one `nats-server`, built by Go from its module's release."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.machine import CACHE, Missing
from bench.server import Running, free_port, process, wait_for_port

VERSION: Final = "2.15.2"
GREETING: Final = (
    b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\nSUB _INBOX.@@@@ 1\r\nPING\r\n'
)
"""Of each connection; answered by two lines, INFO and PONG."""
GREETED_LINES: Final = 2


def server() -> Path:
    """Return the program; Go builds it at the first call.

    Raises:
        Missing: there is no Go, or it cannot fetch the module.
    """
    program = CACHE / f"nats-{VERSION}" / "nats-server"
    if program.exists():
        return program
    if shutil.which("go") is None:
        raise Missing("go is not installed")
    module = f"github.com/nats-io/nats-server/v2@v{VERSION}"
    environment = {**os.environ, "GOBIN": str(program.parent)}
    built = subprocess.run(
        ["go", "install", module], capture_output=True, text=True, env=environment, check=False
    )
    if built.returncode:
        raise Missing(f"go install {module}: {built.stderr.strip()[-300:]}")
    return program


@contextlib.contextmanager
def nats(data: Path, stream: str, *, synced: bool) -> Iterator[Running]:
    """Run a fresh server with one stream on files; `synced`: every message before its answer."""
    program = server()
    data.mkdir(parents=True)
    port, log = free_port(), data.with_name(f"{data.name}.log")
    settings = data / "server.conf"
    always = "sync_interval: always" if synced else ""
    settings.write_text(
        f"listen: 127.0.0.1:{port}\njetstream {{ store_dir: {json.dumps(str(data))}\n{always}\n}}\n"
    )
    with process([str(program), "-c", str(settings)], log=log) as child:
        wait_for_port(child, port, log)
        _create(port, stream)
        yield Running("nats", child.pid, f"127.0.0.1:{port}")


def publish(stream: bytes, value: bytes) -> bytes:
    """Return the request that appends a message and asks for an answer, which has two lines."""
    return b"PUB %s _INBOX.@@@@ %d\r\n%s\r\n" % (stream, len(value), value)


def _create(port: int, stream: str) -> None:
    """Create a stream of one subject, as `nats stream add` does.

    Raises:
        RuntimeError: the server refused.
    """
    wanted = json.dumps({"name": stream, "subjects": [stream], "storage": "file"}).encode()
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        lines = connection.makefile("rb")
        connection.sendall(GREETING.replace(b"@@@@", b"0000"))
        subject = b"$JS.API.STREAM.CREATE." + stream.encode()
        connection.sendall(b"PUB %s _INBOX.0000 %d\r\n%s\r\n" % (subject, len(wanted), wanted))
        while not lines.readline().startswith(b"MSG "):
            pass
        answer = json.loads(lines.readline())
    if "error" in answer:
        raise RuntimeError(f"nats: {answer['error']}")
