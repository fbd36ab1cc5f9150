"""`make interop`: what each client writes, each client reads, as a table of cells.

A real node; real clients of both protocols. Each client writes the sample with each codec to a
topic of its own, and every client reads every topic. A cell is one writer, one reader and one
feature; each must be there and say `ok`. In the end Apache's `kafka-dump-log --deep-iteration`
walks over the segment files. What the clients need is fetched once, by checksums.

`python -m tests.interop.run [--clients NAME,NAME]`
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from time import time_ns
from typing import Final

import tidelog
from tests.interop.client import Client, Target
from tests.interop.dump_log import Dumped, dump
from tests.interop.fetched import MissingError, java_classes, node_modules, python_packages
from tests.interop.sample import CODECS, PARTS, RECORDS, Told, differences
from tests.interop.table import OK, Table, Written
from tests.kill.node_process import Doors, NodeProcess

LIMIT_S: Final = 90
"""A client that has not come to an end by then has failed."""
SEGMENTED: Final = "interop-segmented"
SEGMENT_BYTES: Final = 1 << 14
ROUNDS: Final = 40
"""Samples in the topic of several segments."""


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if every cell is ok."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.run")
    parser.add_argument("--clients", help="names, with commas between; all without it")
    options = parser.parse_args(arguments)
    try:
        sys.path.append(str(python_packages()))
        clients: dict[str, Client] = import_module("tests.interop.clients").CLIENTS
        names = options.clients.split(",") if options.clients else list(clients)
        unknown = sorted(set(names) - set(clients))
        if unknown:
            parser.error(f"no client {', '.join(unknown)}; there are {', '.join(clients)}")
        _fetch(names)
    except (MissingError, ImportError) as error:
        parser.error(str(error))
    chosen = {name: clients[name] for name in names}
    with TemporaryDirectory(prefix="tidelog-interop-") as folder:
        node = NodeProcess(Path(folder) / "data", (), Path(folder))
        node.start()
        try:
            table = asyncio.run(_filled(node.doors, chosen))
            ended = node.terminate()
        finally:
            node.close()
        dumped = dump(sorted(node.directory.glob("partitions/*/*.log")))
    return _told(table, dumped, chosen) if ended == 0 else ended


def _fetch(names: Sequence[str]) -> None:
    """Have everything before the first client is asked for anything.

    Raises:
        MissingError: something cannot be had.
    """
    java_classes()  # the tool that closes the run needs them in any case
    if "kafkajs" in names:
        node_modules()
    if "kcat" in names and which("kcat") is None:
        raise MissingError("kcat is not installed; Debian's package is kcat")


def _told(table: Table, dumped: Dumped, clients: Mapping[str, Client]) -> int:
    """Print what came of it; return the exit code."""
    ok = Counter(table.cells.values())[OK]
    silent = [name for name, client in clients.items() if client.read is None]
    lines = [table.show(), *table.reasons]
    lines += [f"{name} only writes: it reads as a member of a group" for name in silent]
    counts = f"{dumped.files} files, {dumped.batches} batches, {dumped.records} records"
    lines += [*dumped.wrong, f"kafka-dump-log --deep-iteration: {counts}, "]
    lines[-1] += "every one valid" if not dumped.wrong else f"{len(dumped.wrong)} complaints"
    lines.append(f"{ok} of {len(table.cells)} cells ok")
    sys.stdout.write("\n".join(lines) + "\n")
    whole = table.whole(list(clients), [name for name in clients if name not in silent])
    written = len(RECORDS) * (len(CODECS) * len(clients) + ROUNDS)
    return 0 if whole and not dumped.wrong and dumped.records == written else 1


async def _filled(doors: Doors, clients: Mapping[str, Client]) -> Table:
    """Let everyone write, then everyone read."""
    table = Table()
    written: dict[tuple[str, str], Written] = {}
    async with tidelog.connect(f"tidelog://{doors.grpc}", client_id="interop") as admin:
        await _write_segments(admin)
        for writer, client in clients.items():
            for codec in CODECS:
                target = Target(f"interop-{writer}-{codec}", codec)
                written[writer, codec] = await _write(admin, doors, client, target=target)
    for (writer, codec), one in written.items():
        for reader, client in clients.items():
            if client.read is None:
                continue
            read, failure = await _read(doors, one, client)
            expected = one.expected(read, dates=clients[writer].dates)
            for feature in (*PARTS, codec) if codec == "none" else (codec,):
                wrong = [failure] if failure else differences(expected, read, feature)
                table.put((writer, reader, feature), wrong)
    return table


async def _write(admin: tidelog.Client, doors: Doors, client: Client, *, target: Target) -> Written:
    """Let one client write its sample with one codec; note what came of it."""
    topic, codec = target
    await admin.topics.create(topic, partitions=1)
    one = Written(topic, time_ns() // 1_000_000, sample=client.sample)
    try:
        await asyncio.wait_for(client.write(doors, target, client.sample), LIMIT_S)
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its cell
        one.failure = f"not written: {error!r:.300}"
    one.ended_ms = time_ns() // 1_000_000
    one.failure = one.failure or await _wrongly_stored(admin, topic, codec)
    return one


async def _write_segments(admin: tidelog.Client) -> None:
    """Fill a topic whose log is in many files: their names begin where their records do."""
    config = {"segment.bytes": str(SEGMENT_BYTES), "max.message.bytes": str(SEGMENT_BYTES)}
    await admin.topics.create(SEGMENTED, partitions=1, config=config)
    async with admin.producer() as producer:
        for _ in range(ROUNDS):
            for record in RECORDS:
                await producer.send(SEGMENTED, record.value, key=record.key, headers=record.headers)


async def _read(doors: Doors, one: Written, client: Client) -> tuple[list[Told], str]:
    """Read one topic with one client; return the records, or why there are none."""
    if one.failure or client.read is None:
        return [], one.failure
    try:
        return await asyncio.wait_for(client.read(doors, one.topic, len(RECORDS)), LIMIT_S), ""
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its cell
        return [], f"not read: {error!r:.300}"


async def _wrongly_stored(admin: tidelog.Client, topic: str, codec: str) -> str:
    """Return why the log has not what was asked for; a client may send small batches plain.

    The long record is worth compressing to everyone.
    """
    async with admin.replay(topic, stop="latest") as history:
        codecs = [
            "unknown" if record.batch is None else record.batch.compression
            async for record in history
        ]
    if len(codecs) != len(RECORDS):
        return f"{len(codecs)} records stored, not {len(RECORDS)}"
    stored = set(codecs)
    fine = codec in stored and stored <= {codec, "none"}
    return "" if fine else f"stored as {', '.join(sorted(stored)) or 'nothing'}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
