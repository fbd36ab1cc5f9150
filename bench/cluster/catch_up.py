"""A follower that was away catches up, beside a producer: Tidelog only.

A node is stopped, the other two take many records, and it is started again: the rate is what it was
behind over the time from its open doors until every partition is in sync on all three. Beside it
stands a plain copy of as many bytes, from the same files over a loopback connection into a file
that is synced at the end. The producer sends 200 requests a second to a partition of another topic,
before, and while the node catches up.

What bounds it: the leaders read, verify and send, the follower verifies, journals, syncs and files,
and all of that is on the same cores; a small amount is bound by what joining takes.

Takes 5 minutes with 2 GiB (quick, with 128 MiB: half a minute).
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from json import loads
from pathlib import Path
from threading import Thread
from typing import Final

from bench.bulk import PRODUCER, moved
from bench.cluster.nodes import NUMBERS, once_known
from bench.cluster.tidelog_nodes import TidelogNodes
from bench.cluster.topics import leaders, make, settle, whole
from bench.machine import Missing, compiled, lend_memory, scratch
from bench.requests import kafka_request
from bench.rows import Row, skipped

PARTITIONS: Final = 6
BEHIND_BYTES: Final = 2 << 30
QUICK_BEHIND_BYTES: Final = 128 << 20
VALUE_BYTES: Final = 1_024
BEFORE_S: Final = 10.0
PER_SECOND: Final = 200
LOOK_S: Final = 0.05
COPY_SHARE_MIN: Final = 0.5
P99_GROWS_MAX: Final = 2.0
CHUNK_BYTES: Final = 1 << 20


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield the rate, and what it costs a producer."""
    try:
        bulk, paced = compiled("bulk", "rdkafka"), compiled("paced")
    except Missing as missing:
        yield skipped("catch-up", str(missing))
        return
    behind = QUICK_BEHIND_BYTES if quick else BEHIND_BYTES
    with scratch() as made:
        root = Path(made)
        nodes = TidelogNodes(root)
        try:
            nodes.start()
            yield from _measured(nodes, root, behind, clients=(bulk, paced))
        finally:
            nodes.close()


def _measured(
    nodes: TidelogNodes, root: Path, behind: int, *, clients: tuple[Path, Path]
) -> Iterator[Row]:
    bulk, paced = clients
    make(nodes, ["beside"], 1)
    make(nodes, ["behind"], PARTITIONS)
    settle(nodes, PARTITIONS + 1)
    kept = leaders(nodes, "beside")[0]
    away = next(number for number in NUMBERS if number != kept)
    request = root / "beside.request"
    request.write_bytes(kafka_request(b"beside"))
    with _producer(paced, nodes.address(kept), request) as before:
        time.sleep(BEFORE_S)
    nodes.stop(away)
    sizes = (PARTITIONS, behind // VALUE_BYTES, VALUE_BYTES)
    moved(bulk, ("produce", nodes.brokers, "behind"), sizes, settings=PRODUCER)
    os.sync()  # what is on its way to the disk is not what is measured
    lend_memory(behind)
    with _producer(paced, nodes.address(kept), request) as meanwhile:
        nodes.open(away)
        began = time.monotonic()
        once_known(
            lambda: whole(nodes.address(kept), PARTITIONS + 1) or None,
            "every replica in sync after a node was away",
            every_s=LOOK_S,
        )
        took_s = time.monotonic() - began
    mib = behind / 2**20
    lend_memory(behind)
    copied = _copied(nodes.directory(kept), root / "copy", behind)
    rate = mib / took_s
    yield Row(
        question=f"catch-up, {mib:,.0f} MiB, beside a copy",
        unit="MiB/s",
        ours=rate,
        peer=copied,
        ratio=rate / copied,
        at_least=COPY_SHARE_MIN,
        more={"took_s": took_s},
    )
    p99, was = meanwhile["p99_ms"], before["p99_ms"]
    yield Row(
        question="producer beside it, and before",
        unit="p99 ms",
        ours=p99,
        peer=was,
        ratio=p99 / was,
        at_most=P99_GROWS_MAX,
        more={"max_ms": meanwhile["max_ms"], "max_before_ms": before["max_ms"]},
    )


@contextmanager
def _producer(client: Path, address: str, request: Path) -> Iterator[dict[str, float]]:
    """Send requests to an address meanwhile; what they waited is told at the end."""
    port = address.rpartition(":")[2]
    command = [str(client), port, str(request), str(PER_SECOND), "1"]
    told: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            yield told
        finally:
            child.send_signal(signal.SIGTERM)
            output, _ = child.communicate()
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {child.returncode}")
    told.update(loads(output))


def _copied(source: Path, target: Path, size_bytes: int) -> float:
    """Copy so much of a folder's logs over loopback into a synced file; return MiB a second."""
    logs = sorted(source.rglob("*.log"), key=lambda path: path.stat().st_size, reverse=True)
    with socket.create_server(("127.0.0.1", 0)) as door:
        began = time.monotonic()
        sending = Thread(target=_send, args=(logs, door.getsockname()[1], size_bytes))
        sending.start()
        connection, _ = door.accept()
        taken = 0
        with connection, target.open("wb") as file:
            while part := connection.recv(CHUNK_BYTES):
                taken += file.write(part)
            file.flush()
            os.fdatasync(file.fileno())
        sending.join()
    return taken / 2**20 / (time.monotonic() - began)


def _send(files: list[Path], port: int, size_bytes: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for path in files:
            with path.open("rb") as file:
                size_bytes -= connection.sendfile(file, 0, min(size_bytes, path.stat().st_size))
            if size_bytes <= 0:
                return
