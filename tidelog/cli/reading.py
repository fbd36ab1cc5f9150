"""What `consume` and `tail` do: read records and print them, as they come."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from tidelog.cli.failure import CommandFailed, Exit
from tidelog.cli.places import start_of, times_of
from tidelog.cli.progress import Progress, Share
from tidelog.cli.reasons import failure_of
from tidelog.cli.record import ShownRecord, meta_to_json
from tidelog.cli.record_format import RecordFormat
from tidelog.cli.session import with_client
from tidelog.cli.time_range import ReadRange

if TYPE_CHECKING:
    from tidelog.cli.run import Run
    from tidelog.client import Client
    from tidelog.replay import Replay
    from tidelog.types import Clock, Isolation, Position, Record, TopicPartition

WRITE_BYTES: Final = 64 << 10
NAMED_MAX: Final = 5
"""So many partitions are named where records were removed; of the others, how many they are."""
META_FORMAT: Final = r"%t %p %o %d %A %K %V\n"

Printer = Callable[[ShownRecord], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What to read, and how to print it."""

    topics: Sequence[str]
    read: ReadRange
    clock: "Clock"
    follow: bool
    """Go on when all that is there has been read; only where the range has no stop."""
    partitions: Sequence[int] = ()
    records_max: int | None = None
    grep: "re.Pattern[bytes] | None" = None
    printer: Printer
    uncommitted: bool = False


@dataclass(slots=True)
class Output:
    """What is printed and not written yet."""

    run: "Run"
    parts: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    failed: bool = False
    """Something could not be written: nobody has seen it."""

    def put(self, part: bytes) -> None:
        """Print something, once there is enough of it."""
        self.parts.append(part)
        self.size_bytes += len(part)
        if self.size_bytes >= WRITE_BYTES:
            self.write()

    def write(self) -> None:
        """Print what is left."""
        parts, self.parts, self.size_bytes = self.parts, [], 0
        if parts:
            self.failed = True
            self.run.write_bytes(b"".join(parts))
            self.run.stdout.flush()
            self.failed = False


def printer_of(run: "Run", form: str | None, *, meta_only: bool) -> Printer:
    """Return what prints a record: by `-f`, by the global format, or as a line for people.

    Raises:
        FormatError: the format string is none.
    """
    if form is None and run.is_json:
        form = "json"
    if not meta_only:
        return RecordFormat(form or "text")
    if form in {"json", "jsonl"}:
        return _meta_json
    return RecordFormat(META_FORMAT)


def _meta_json(record: ShownRecord) -> bytes:
    return msgspec.json.encode(meta_to_json(record)) + b"\n"


def read_records(run: "Run", reading: Reading) -> int:
    """Print records; return the exit code."""
    progress = Progress(run, "records read")

    async def work(client: "Client") -> int:
        async with _replay(client, reading) as history:
            cut = [each for each in history.bounds if each.truncated]
            await _warn_of_truncation(run, client, [each.partition for each in cut])
            progress.share = _share_of(history)
            told = frozenset((each.partition, each.start) for each in cut)
            return await _Reader(run, reading, history, progress=progress, told=told).run()

    try:
        return with_client(run, work)
    finally:
        progress.end()


def _replay(client: "Client", reading: Reading) -> "Replay[bytes, bytes]":
    read = reading.read
    partitions = reading.partitions or None
    isolation: Isolation = "read_uncommitted" if reading.uncommitted else "read_committed"
    if read.is_time_range:
        return client.replay(
            *reading.topics,
            during=times_of(read, reading.clock),
            partitions=partitions,
            isolation=isolation,
            gaps="raise",
        )
    stop = None if read.stop is None else start_of(read.stop)
    return client.replay(
        *reading.topics,
        start=start_of(read.start),
        stop="latest" if stop is None and not reading.follow else stop,
        clock=reading.clock,
        partitions=partitions,
        isolation=isolation,
        gaps="raise",
    )


class _Reader:
    """One run of the loop."""

    def __init__(
        self,
        run: "Run",
        reading: Reading,
        history: "Replay[bytes, bytes]",
        *,
        progress: Progress,
        told: "frozenset[tuple[TopicPartition, int]]",
    ) -> None:
        """`told`: partitions with where reading begins, before which records are known to miss."""
        self._run = run
        self._reading = reading
        self._history = history
        self._progress = progress
        self._told = told
        self._output = Output(run)
        self._read = 0
        self._printed = 0
        """Of those read; `--grep` passes over the others."""
        self._failed = False

    async def run(self) -> int:
        """Print until the end, or until there are enough."""
        from tidelog.types import TopicPartition  # noqa: PLC0415 - loaded by the client already

        limit = self._reading.records_max
        try:
            while limit is None or self._printed < limit:
                record = await self._next()
                if record is None:
                    break
                at = TopicPartition(record.topic, record.partition)
                self._print(record, self._history.positions.get(at))
                self._read += 1
                self._progress.show(self._read)
        finally:
            self._output.write()
        return Exit.FAILED if self._failed else Exit.DONE

    async def _next(self) -> "Record[bytes, bytes] | None":
        """Return the next record; None at the end. What was lost on the way is told."""
        from tidelog.errors import DataCorrupt, LogGap  # noqa: PLC0415 - loaded already

        while True:
            if not self._history.buffered:
                self._output.write()  # before waiting
            try:
                return await anext(self._history)
            except StopAsyncIteration:
                return None
            except LogGap as gap:
                if (gap.partition, gap.next_offset) not in self._told:
                    self._output.write()
                    self._run.warn(str(gap))
            except DataCorrupt as corrupt:
                self._failed = True
                self._output.write()
                self._run.tell_failure(failure_of(corrupt) or CommandFailed(str(corrupt)))
                if corrupt.next_offset is None:
                    return None

    def _print(self, record: "Record[bytes, bytes]", position: "Position | None") -> None:
        if not wanted(self._reading, record):
            return
        self._printed += 1
        self._output.put(self._reading.printer(shown(record, position)))


def wanted(reading: Reading, record: "Record[bytes, bytes]") -> bool:
    """Tell whether a record is printed: `--grep` finds something in its value or key."""
    pattern = reading.grep
    return pattern is None or any(
        text is not None and pattern.search(text) is not None for text in (record.value, record.key)
    )


def shown(record: "Record[bytes, bytes]", position: "Position | None" = None) -> ShownRecord:
    """Return a record of the SDK as the command line prints it."""
    batch = record.batch
    return ShownRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        append_time_ms=record.append_time_ms,
        key=record.key,
        value=record.value,
        headers=tuple(
            (name.encode("utf-8", "surrogateescape"), value) for name, value in record.headers
        ),
        leader_epoch=record.leader_epoch,
        compression="none" if batch is None else batch.compression,
        producer_id=-1 if batch is None else batch.producer_id,
        producer_epoch=-1 if batch is None else batch.producer_epoch,
        log_start_offset=0 if position is None else position.log_start_offset,
        last_stable_offset=0 if position is None else position.last_stable_offset,
        high_watermark=0 if position is None else position.high_watermark,
    )


def _share_of(history: "Replay[bytes, bytes]") -> Share | None:
    """Return how much of a bounded read is done, by offsets; None: it has no end."""

    def left() -> int | None:
        bounds = [(each.start, each.stop) for each in history.bounds]
        if any(stop is None for _, stop in bounds):
            return None
        return sum(stop - start for start, stop in bounds if stop is not None)

    whole = left()
    if not whole:
        return None

    def share() -> float | None:
        rest = left()
        return None if rest is None else 1 - rest / whole

    return share


async def _warn_of_truncation(
    run: "Run", client: "Client", cut: "Sequence[TopicPartition]"
) -> None:
    """Say where records inside the range were removed, and where those logs begin now."""
    if not cut:
        return
    starts = await _log_starts(client, cut[:NAMED_MAX])
    places = ", ".join(
        f"{at.topic}/{at.partition}" + (f" begins at {starts[at]}" if at in starts else "")
        for at in cut[:NAMED_MAX]
    )
    more = f" and {len(cut) - NAMED_MAX} more" if len(cut) > NAMED_MAX else ""
    run.warn(f"records inside the range were removed, by retention or a trim: {places}{more}")


async def _log_starts(
    client: "Client", partitions: "Sequence[TopicPartition]"
) -> "dict[TopicPartition, int]":
    """Return where logs begin; of a topic whose leaders do not all answer nothing is known.

    What is read need not begin there: the bounds of a range of times are those of its records.
    """
    from tidelog.errors import TidelogError  # noqa: PLC0415 - loaded already

    starts: dict[TopicPartition, int] = {}
    for topic in sorted({each.topic for each in partitions}):
        try:
            found = await client.topics.resolve(topic, "earliest")
        except TidelogError:
            continue  # the warning is as true without the number
        starts |= {each.partition: each.log_start_offset for each in found}
    return starts
