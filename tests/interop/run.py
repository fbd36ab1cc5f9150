"""`make interop`: what each client writes, each client reads, as a table of cells.

A real node; real clients of both protocols. Each client writes the sample with each codec to a
topic of its own, and every client reads every topic. A cell is one writer, one reader and one
feature; each must say `ok`. What a client cannot do by nature is listed as n/a with its reason.

`python -m tests.interop.run [--clients NAME,NAME]`
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import import_module
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time_ns
from typing import TYPE_CHECKING, Final

import tidelog
from tests.interop.sample import CODECS, FEATURES, PARTS, RECORDS, Told, differences
from tests.kill.node_process import Doors, NodeProcess

if TYPE_CHECKING:
    from tests.interop.clients import Client

REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
OK: Final = "ok"
NOT_APPLICABLE: Final = "n/a"
PLAIN: Final = "stored as none"
LIMIT_S: Final = 90
"""A client that has not come to an end by then has failed."""


@dataclass(slots=True)
class Written:
    """What one client has written to one topic."""

    topic: str
    began_ms: int = 0
    ended_ms: int = 0
    sample: Sequence[Told] = RECORDS
    failure: str = ""
    by_nature: str = ""
    """Why its batches are plain although a codec was asked for; not empty: its cells are n/a."""

    def expected(self, read: Sequence[Told], *, dates: bool) -> list[Told]:
        """Return the sample as it should be read: with its dates, or any from while it was sent."""
        if dates:
            return list(self.sample)
        times = [
            one.time_ms if self.began_ms <= one.time_ms <= self.ended_ms else self.began_ms
            for one in read
        ]
        times += [self.began_ms] * len(RECORDS)
        return [
            record._replace(time_ms=time) for record, time in zip(self.sample, times, strict=False)
        ]


@dataclass(slots=True)
class Table:
    """The cells, and why some are not as they should be."""

    cells: dict[tuple[str, str, str], str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def put(self, cell: tuple[str, str, str], wrong: Sequence[str]) -> None:
        """Note what came of a cell."""
        self.cells[cell] = "FAIL" if wrong else OK
        self.reasons += [f"{' > '.join(cell[:2])}, {cell[2]}: {line}" for line in wrong]

    def leave(self, cell: tuple[str, str, str], reason: str) -> None:
        """Note a cell that cannot be."""
        self.cells[cell] = NOT_APPLICABLE
        self.reasons.append(f"{cell[0]} > {cell[1]}, {cell[2]}: n/a: {reason}")

    def show(self) -> str:
        """Return the table as text."""
        head = f"{'writer':<14}{'reader':<14}" + "".join(f"{name:<18}" for name in FEATURES)
        rows = [head]
        for writer, reader in dict.fromkeys(cell[:2] for cell in self.cells):
            marks = (self.cells[writer, reader, feature] for feature in FEATURES)
            rows.append(f"{writer:<14}{reader:<14}" + "".join(f"{mark:<18}" for mark in marks))
        return "\n".join(rows)


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if every cell is ok."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.run")
    parser.add_argument("--clients", help="names, with commas between; all without it")
    options = parser.parse_args(arguments)
    sys.path.append(str(_fetched()))
    clients: dict[str, Client] = import_module("tests.interop.clients").CLIENTS
    names = options.clients.split(",") if options.clients else list(clients)
    unknown = sorted(set(names) - set(clients))
    if unknown:
        parser.error(f"no client {', '.join(unknown)}; there are {', '.join(clients)}")
    if "kcat" in names and shutil.which("kcat") is None:
        parser.error("kcat is not installed; Debian's package is kcat")
    with TemporaryDirectory(prefix="tidelog-interop-") as folder:
        node = NodeProcess(Path(folder) / "data", (), Path(folder))
        node.start()
        try:
            table = asyncio.run(_filled(node.doors, {name: clients[name] for name in names}))
        finally:
            node.terminate()
    counts = Counter(table.cells.values())
    told = f"{counts[OK]} of {len(table.cells)} cells ok, {counts[NOT_APPLICABLE]} n/a"
    sys.stdout.write("\n".join([table.show(), *table.reasons, told]) + "\n")
    return 0 if counts[OK] and counts[OK] + counts[NOT_APPLICABLE] == len(table.cells) else 1


async def _filled(doors: Doors, clients: "Mapping[str, Client]") -> Table:
    """Let everyone write, then everyone read."""
    table = Table()
    target = import_module("tests.interop.clients").Target
    written: dict[tuple[str, str], Written] = {}
    async with tidelog.connect(f"tidelog://{doors.grpc}", client_id="interop") as admin:
        for writer, client in clients.items():
            for codec in CODECS:
                topic = f"interop-{writer}-{codec}"
                await admin.topics.create(topic, partitions=1)
                one = written[writer, codec] = Written(
                    topic, time_ns() // 1_000_000, sample=client.sample
                )
                try:
                    await asyncio.wait_for(
                        client.write(doors, target(topic, codec), client.sample), LIMIT_S
                    )
                except Exception as error:  # noqa: BLE001 - whatever a client raises is its cell
                    one.failure = f"not written: {error!r:.300}"
                one.ended_ms = time_ns() // 1_000_000
                stored = await _wrongly_stored(admin, topic, codec)
                if stored == PLAIN and codec in client.plain:
                    one.by_nature, stored = client.plain[codec], ""
                one.failure = one.failure or stored
    for writer, client in clients.items():
        for reader, other in clients.items():
            for codec in CODECS:
                one = written[writer, codec]
                read, failure = await _read(doors, one, other)
                expected = one.expected(read, dates=client.dates)
                for feature in (*PARTS, codec) if codec == "none" else (codec,):
                    wrong = [failure] if failure else differences(expected, read, feature)
                    if one.by_nature and not wrong:
                        table.leave((writer, reader, feature), one.by_nature)
                    else:
                        table.put((writer, reader, feature), wrong)
    return table


async def _read(doors: Doors, one: Written, client: "Client") -> tuple[list[Told], str]:
    """Read one topic with one client; return the records, or why there are none."""
    if one.failure:
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


def _fetched() -> Path:
    """Return the folder of what the clients need besides; fetched once, by its checksums."""
    caches = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = caches / "tidelog" / "interop" / digest
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as half:
            made = Path(half) / "made"
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes"]
            command += ["--no-deps", "--target", str(made), "-r", str(REQUIREMENTS)]
            subprocess.run(command, check=True)
            made.rename(folder)
    return folder


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
