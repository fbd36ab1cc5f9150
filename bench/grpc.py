"""gRPC beside the Kafka listener of the same node: bulk in encoded batches, and plain records.

*Encoded*: batches of 512 KiB over ProduceStream and Subscribe, through the generated stubs, against
the same bytes over the Kafka listener with librdkafka. What bounds it: each message is copied by
protobuf and by gRPC's core on either side, and a client in Python stands on the other core.

*Plain*: records of 100 B, 500 a message, through the SDK without its extra `speed`, against
aiokafka through the Kafka listener. What is counted is records per CPU second of client and server
together, for plain records move the codec from the client to the node: who encodes does not matter,
what it costs does. What bounds it: Python, for each record, in the SDK and in protobuf.

Nothing is synced. About 4 minutes.
"""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from bench.bulk import CONSUMER, PRODUCER
from bench.machine import Missing, compiled, scratch
from bench.python_client import run
from bench.rows import Row, compared, skipped
from bench.server import Running, cpu_s
from bench.tidelog_node import tidelog

PAIRS: Final = 5
QUICK_PAIRS: Final = 2
VERBS: Final = ("produce", "consume")
OURS: Final = "grpc"
PEER: Final = "kafka"
VALUE_BYTES: Final = 1_024
ENCODED_RECORDS: Final = 512 << 10
PLAIN_RECORDS: Final = 200_000
QUICK_SHARE: Final = 5
"""Of the records, one in so many."""
ENCODED_MIN: Final = 0.5
PLAIN_MIN: Final = 2.0


class Run(NamedTuple):
    """One run of a client."""

    rate: float
    """What is judged or told of speed: bytes/s or records/s."""
    per_cpu: float
    """Encoded: bytes per CPU second of the server. Plain: records per CPU second of both."""


Runs = dict[tuple[str, str], list[Run]]
"""By what was done and by way, in the order of the pairs."""
Client = Callable[[str, str, str], Run]
"""Does a verb (of `VERBS`) by a way on a topic."""


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield bytes/s of encoded batches, and records per CPU second of plain records."""
    with scratch() as root:
        with tidelog(Path(root, "tidelog"), "topic_defaults.tidelog.flush=async") as node:
            for question in (_encoded, _plain):
                try:
                    yield from question(node, quick=quick)
                except Missing as missing:
                    name = question.__name__.strip("_")
                    yield skipped(f"gRPC, {name}", str(missing))


def _in_turn(client: Client, what: str, *, quick: bool) -> Runs:
    """Return the runs of both ways, each pair on topics of its own; the first is not counted."""
    runs: Runs = {(verb, way): [] for verb in VERBS for way in (OURS, PEER)}
    for number in range(-1, QUICK_PAIRS if quick else PAIRS):
        order = (OURS, PEER) if number % 2 else (PEER, OURS)
        for verb in VERBS:
            for way in order:
                run_of_it = client(verb, way, f"{what}-{way}-{number + 1}")
                if number >= 0:
                    runs[verb, way].append(run_of_it)
    return runs


def _encoded(node: Running, *, quick: bool) -> Iterator[Row]:
    program = compiled("bulk", "rdkafka")
    records = ENCODED_RECORDS // (QUICK_SHARE if quick else 1)

    def client(verb: str, way: str, topic: str) -> Run:
        if way == OURS and verb == "produce":
            run("filled_topic", node.doors["grpc"], topic, "1", "0")
        elif verb == "produce":  # the topic exists before the clock runs
            _bulk(program, node, (verb, topic, 1), size_bytes=1)
        before = cpu_s(node.pid)
        if way == OURS:
            told = run("encoded_batches", verb, node.doors["grpc"], topic, str(records))
            rate = told["bytes_per_s"]
        else:
            rate = VALUE_BYTES * records / _bulk(program, node, (verb, topic, records))
        return Run(rate, VALUE_BYTES * records / _spent(node, before))

    runs = _in_turn(client, "encoded", quick=quick)
    for verb in VERBS:
        what = f"gRPC {verb}, batches of 512 KiB"
        yield _row(what, "bytes/s", _columns(runs, verb, "rate"), at_least=ENCODED_MIN)
        yield _row(what, "bytes/server CPU s", _columns(runs, verb, "per_cpu"))


def _bulk(
    program: Path, node: Running, what: tuple[str, str, int], *, size_bytes: int = VALUE_BYTES
) -> float:
    """Let librdkafka do it; return the seconds. Records of another size are not counted."""
    verb, topic, records = what
    settings = PRODUCER if verb == "produce" else CONSUMER
    command = [str(program), verb, node.brokers, topic, "1", str(records), str(size_bytes)]
    done = subprocess.run([*command, *settings], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    seconds: float = json.loads(done.stdout)["seconds"]
    return seconds


def _plain(node: Running, *, quick: bool) -> Iterator[Row]:
    if find_spec("aiokafka") is None:
        raise Missing("aiokafka is not installed")
    records = PLAIN_RECORDS // (QUICK_SHARE if quick else 1)
    ways = {OURS: ("tidelog", node.doors["grpc"]), PEER: ("aiokafka", node.brokers)}

    def client(verb: str, way: str, topic: str) -> Run:
        library, address = ways[way]
        before = cpu_s(node.pid)
        told = run("plain_records", library, verb, address, topic, str(records))
        both = told["cpu_s"] + _spent(node, before)
        return Run(records / told["seconds"], records / both)

    runs = _in_turn(client, "plain", quick=quick)
    for verb in VERBS:
        what = f"gRPC {verb}, plain 100 B, SDK by aiokafka"
        yield _row(what, "records/CPU s", _columns(runs, verb, "per_cpu"), at_least=PLAIN_MIN)
        yield _row(what, "records/s", _columns(runs, verb, "rate"))


def _spent(node: Running, before: float) -> float:
    """Return the CPU seconds of the node since `before`."""
    return cpu_s(node.pid) - before


def _columns(runs: Runs, verb: str, figure: str) -> tuple[list[float], list[float]]:
    ours, peer = ([getattr(one, figure) for one in runs[verb, way]] for way in (OURS, PEER))
    return ours, peer


def _row(
    question: str,
    unit: str,
    columns: tuple[Sequence[float], Sequence[float]],
    *,
    at_least: float | None = None,
) -> Row:
    ours, peer = columns
    return compared(
        question,
        unit=unit,
        ours=ours,
        peer=peer,
        at_least=at_least,
    )
