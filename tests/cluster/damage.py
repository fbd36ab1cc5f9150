"""Disks that rot under three processes: `python -m tests.cluster.damage [--rows ...] [--keep]`.

A producer of librdkafka goes on, and everything acknowledged is read again and again by a consumer
that checks checksums, while one node after the other is harmed:

    running   one byte flips in every file of its partitions, under the running node
    restart   it is killed, one byte flips in every such file, a segment is cut short, one is lost
    lost      it is killed, and its whole directory is gone

Nothing wrong is ever read. At the end all three have healed by themselves: the same batches, with
the same append times. A scrub runs once a minute, so each of the first two rows takes that long.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from threading import Event
from time import monotonic
from typing import Final

from confluent_kafka import KafkaException

from logstore.paths import INDEX, LOG, PARTITIONS, TIMES, parse_offset
from logstore.times import decode
from model.ids import Offset
from model.record import BatchHeader, iter_batches
from tests.cluster.loads import Load
from tests.cluster.story import PARTITIONS as NUMBERS
from tests.cluster.story import RECORDS, Story
from tests.cluster.telling import parser_of, say, told
from tests.cluster.topics import TOPIC, create
from tests.cluster.waiting import Broken, NotInTime

ROWS: Final = ("running", "restart", "lost")
SETTINGS: Final = (
    "log.scrub_interval_ms=1m", "log.scrub_bytes_per_second=64MiB", "log.tail_bytes=0",
    "log.checkpoint_bytes=4KiB",  # what is killed has files that can rot
)  # fmt: skip
HEALED_S: Final = 150.0
"""Two passes of the scrub, and what they have begun."""
SEGMENT_BYTES: Final = 1 << 10
EVERY_S: Final = 0.01
"""A record so often: each dozen is a segment, of which every one is harmed, and made again."""


class Damage(Story):
    """See the module."""

    def __init__(self, folder: Path, say: Callable[[str], None], *, seed: int) -> None:
        """Begin in a folder that is empty."""
        super().__init__(folder, say, settings=SETTINGS)
        self.load = Load(self.nodes.kafka(), partitions=NUMBERS, every_s=EVERY_S)
        self._chance = Random(seed)

    def suffer(self, rows: Sequence[str]) -> list[str]:
        """Harm one node after the other; return what went wrong."""
        self.nodes.start()
        try:
            config = {"segment.bytes": str(SEGMENT_BYTES)}
            create(self.nodes.kafka(), TOPIC, partitions=NUMBERS, config=config)
            load = self.load
            load.start()
            try:
                load.more(3 * RECORDS, "at first")
                for number, row in enumerate(rows):
                    self._row(row, number % 3 + 1, load)
            finally:
                load.stop()
            self._judge()
            self._compare()
        except (Broken, KafkaException) as broken:
            self.problems.append(f"{type(broken).__name__}: {broken}")
        finally:
            self.nodes.close()
        return self.problems

    def _row(self, row: str, victim: int, load: Load) -> None:
        began = monotonic()
        node = self.nodes.nodes[victim]
        if row == "running":
            harmed = self._flip_all(victim)
        else:
            node.kill()
            harmed = 0
            if row == "lost":
                shutil.rmtree(node.directory)
            else:
                harmed = self._flip_all(victim) + self._cut_and_lose(victim)
            load.more(RECORDS, f"{row}: while node {victim} is away")
            self.nodes.start([victim])
        self._heal(row, victim, harmed, load=load)
        self._in_sync(row)
        took = monotonic() - began
        self._say(f"{row}: node {victim}, {harmed} segments harmed, healed after {took:.0f} s")

    def _heal(self, row: str, victim: int, harmed: int, *, load: Load) -> None:
        """Read, and write, until every segment that was harmed is told to be whole again.

        What a start has cut off comes back as what is new does, and is told by nobody: two passes
        of the scrub that find nothing wrong are as good.
        """
        until = monotonic() + HEALED_S
        known = len(self.nodes.events(victim)) if row == "running" else 0
        while True:
            load.more(RECORDS // 3, f"{row}: while node {victim} heals")
            self._check_read(load, row)
            events = self.nodes.events(victim)[known:]
            mended = sum(1 for event in events if _is(event, "segment_mended"))
            passes = [event["damaged_places"] for event in events if _is(event, "scrub_ended")]
            if mended >= harmed or passes[-2:] == [0, 0]:
                return
            if monotonic() > until:
                raise NotInTime(f"{row}: {mended} of {harmed} segments are mended")
            Event().wait(2.0)

    def _check_read(self, load: Load, where: str) -> None:
        """Read everything; whatever is read must be what was acknowledged there."""
        known = {number: dict(rows) for number, rows in load.acknowledged.items()}
        read = self._read_back()
        for partition, rows in known.items():
            wrong = [at for at, value in rows.items() if read[partition].get(at, value) != value]
            if wrong:
                self.problems.append(f"{where}: partition {partition}: wrong at {wrong[:5]}")

    # What is done to files.

    def _segments(self, victim: int) -> Iterator[Path]:
        """Yield the closed segments of the topic's partitions on a node."""
        for directory in _partitions(self.nodes.nodes[victim].directory):
            logs = sorted(directory.glob(f"*{LOG}"))
            if len(logs) > 2:  # of the topic: those of groups are next to empty
                yield from logs[:-2]

    def _flip_all(self, victim: int) -> int:
        """Flip one bit in each file of every closed segment; return how many there are."""
        segments = list(self._segments(victim))
        for log in segments:
            for name in (log, log.with_suffix(TIMES), log.with_suffix(INDEX)):
                if name.exists() and name.stat().st_size:
                    _flip(name, self._chance)
        return len(segments)

    def _cut_and_lose(self, victim: int) -> int:
        """Cut the newest of a partition's segments short, and lose one; return how many more."""
        directory = next(log.parent for log in self._segments(victim))
        logs = sorted(log for log in directory.glob(f"*{LOG}") if log.stat().st_size)
        with logs[-1].open("r+b") as file:
            file.truncate(logs[-1].stat().st_size // 2)
        logs[0].unlink()
        return 0  # both may be among those that were counted, or be cut off by the start

    def _compare(self) -> None:
        """Stop everybody; hold what the disks have of each partition against one another."""
        for node in self.nodes.nodes.values():
            if node.terminate() != 0:
                self.problems.append("a node did not stop in order")
        held = [_content(node.directory) for node in self.nodes.nodes.values()]
        for name in held[0]:
            copies = [one.get(name, {}) for one in held]
            ends = [max(copy, default=0) for copy in copies]
            shared = [{at: b for at, b in copy.items() if at <= min(ends)} for copy in copies]
            if not shared[0] == shared[1] == shared[2]:
                self.problems.append(f"{name}: the copies differ, up to offset {min(ends)}")
        self._say(f"{len(held[0])} partitions, the same on all three")


def _is(event: dict[str, object], name: str) -> bool:
    return event.get("event") == name


def _flip(name: Path, chance: Random) -> None:
    with name.open("r+b") as file:
        at = chance.randrange(name.stat().st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))


def _partitions(directory: Path) -> list[Path]:
    return sorted(one for one in (directory / PARTITIONS).iterdir() if one.is_dir())


def _content(directory: Path) -> dict[str, dict[int, tuple[bytes, int]]]:
    """Return each batch with its append time, by offset, of each partition of a directory."""
    found: dict[str, dict[int, tuple[bytes, int]]] = {}
    for partition in _partitions(directory):
        rows = found[partition.name] = {}
        for log in sorted(partition.glob(f"*{LOG}")):
            base = parse_offset(log.name, LOG)
            content = log.read_bytes()
            if base is None or not content:
                continue
            times = decode(log.with_suffix(TIMES).read_bytes(), base).times
            for batch in iter_batches(memoryview(content)):
                at = Offset(BatchHeader(batch).base_offset)
                rows[at] = bytes(batch), times.at(at).append_time
    return found


def main() -> int:
    """Harm and watch; 0 if it ends well."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seed", type=int, default=1)
    return told(
        parser, lambda folder, asked: Damage(folder, say, seed=asked.seed).suffer(asked.rows)
    )


if __name__ == "__main__":
    sys.exit(main())
