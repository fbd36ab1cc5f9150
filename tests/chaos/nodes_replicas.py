"""Whether the replicas of a topic are the same: bytes of each batch, append times, leader epochs.

Read from the files of nodes that have stopped. Segments may be cut elsewhere on each: batches are
compared in their order, not files.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from logstore.paths import LOG, PARTITIONS, TIMES, parse_offset
from logstore.times import decode as decode_times
from model.errors import MalformedError
from model.ids import Offset
from model.record import BatchHeader, iter_batches
from tests.interop.dump_log import Dumped, dump
from tests.kill.node_process import ROOT

DUMP_BYTES_MAX: Final = 16 << 20
"""Of files in one call of Apache's tool: it prints a line for each record, and all are kept."""


class Stored(NamedTuple):
    """One batch in a replica."""

    base_offset: int
    end_offset: int
    digest: bytes
    """Of its bytes, as they are stored."""
    append_time: int
    leader_epoch: int
    """Of who appended it, as the append times say."""
    producer: tuple[int, int]
    """Id and epoch."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What comparing the replicas has shown."""

    batches: int
    """Below the ends, in one replica of each partition."""
    anew: int
    """Epochs that producers began anew: each after a refusal that librdkafka took for a gap, and a
    danger to what had no answer then (P20), whether or not it was stored twice."""
    problems: list[str]


def compare(directories: Mapping[int, Path], topic: str, wanted: Mapping[int, int]) -> Compared:
    """Compare the replicas of a topic, up to where each partition ends.

    `directories`: of the nodes, by number. `topic`: the topic's id, as directories have it.
    """
    problems: list[str] = []
    producers: set[tuple[int, int]] = set()
    count = 0
    for partition, end in wanted.items():
        found: dict[int, list[Stored]] = {}
        for number, directory in directories.items():
            folder = directory / PARTITIONS / f"{topic}-{partition}"
            try:
                found[number] = [one for one in stored(folder) if one.base_offset < end]
            except (MalformedError, OSError) as broken:
                problems.append(f"node {number}, partition {partition}: {broken}")
        for number, rows in found.items():
            last = rows[-1].end_offset if rows else 0
            if last != end:
                problems.append(f"node {number}, partition {partition} ends at {last}, not {end}")
        problems += _differences(partition, found)
        producers |= {row.producer for rows in found.values() for row in rows}
        count += max(map(len, found.values()), default=0)
    anew = sum(epoch > 0 for _, epoch in producers)
    return Compared(count, anew, problems)


def stored(folder: Path) -> Iterator[Stored]:
    """Yield the batches of a partition, in their order.

    Raises:
        MalformedError: a file is not what it should be.
        OSError: it cannot be read.
    """
    for path in sorted(folder.glob(f"*{LOG}")):
        base = parse_offset(path.name, LOG)
        if base is None:
            raise MalformedError("segment", 0, f"name {path.name}")
        times = decode_times(path.with_suffix(TIMES).read_bytes(), base).times
        for batch in iter_batches(memoryview(path.read_bytes())):
            header = BatchHeader(batch)
            row = times.at(Offset(header.base_offset))
            digest = sha256(batch).digest()
            yield Stored(
                header.base_offset,
                header.end_offset,
                digest,
                row.append_time,
                row.leader_epoch,
                (header.producer_id, header.producer_epoch),
            )


def _differences(partition: int, found: Mapping[int, list[Stored]]) -> list[str]:
    """Return where replicas are not what the first of them is: one line for each that is not."""
    if not found:
        return []
    (first, *others) = found
    problems = []
    for other in others:
        pairs = zip(found[first], found[other], strict=False)
        unlike = next(((one, two) for one, two in pairs if one != two), None)
        if unlike is not None:
            one, two = unlike
            what = [
                f"{name} {getattr(one, name)} and {getattr(two, name)}"
                for name in ("base_offset", "end_offset", "append_time", "leader_epoch")
                if getattr(one, name) != getattr(two, name)
            ] or ["bytes"]
            problems.append(
                f"partition {partition}: nodes {first} and {other} differ from offset "
                f"{min(one.base_offset, two.base_offset)} on: {', '.join(what)}"
            )
    return problems


def verify(directory: Path) -> list[str]:
    """Return what `tidelog verify` finds wrong in a directory; nothing: it passes."""
    command = [sys.executable, "-m", "tidelog", "verify", str(directory), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"verify: exit {done.returncode}: {done.stderr[-500:] or done.stdout[-500:]}"]
    (row,) = json.loads(done.stdout)["items"]
    cut = row["cut"]
    return [f"verify: a start would cut {cut}"] if cut else []


def dumped(directory: Path) -> Dumped:
    """Let Apache's `kafka-dump-log` walk over every record of every partition in a directory."""
    seen = Dumped(0, 0, 0, [])
    for files in portions(sorted((directory / PARTITIONS).glob(f"*/*{LOG}")), DUMP_BYTES_MAX):
        try:
            part = dump(files)
        except subprocess.TimeoutExpired as late:
            part = Dumped(len(files), 0, 0, [f"{files[0]} and {len(files) - 1} more: {late}"[:500]])
        seen = Dumped(
            seen.files + part.files,
            seen.batches + part.batches,
            seen.records + part.records,
            seen.wrong + part.wrong,
        )
    return seen


def portions(files: Sequence[Path], bytes_max: int) -> Iterator[list[Path]]:
    """Yield the files in their order, as many at once as hold so many bytes, but at least one."""
    portion: list[Path] = []
    left = bytes_max
    for file in files:
        size = file.stat().st_size
        if portion and size > left:
            yield portion
            portion, left = [], bytes_max
        portion.append(file)
        left -= size
    if portion:
        yield portion
