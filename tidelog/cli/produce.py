"""`tidelog produce`: write records from stdin, or from the command line."""

import os
import re
import sys
from collections import deque
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from tidelog.cli.completing import topic_names
from tidelog.cli.failure import CommandFailed, Exit, Usage
from tidelog.cli.feed import Feed
from tidelog.cli.format_verbs import FormatError
from tidelog.cli.numbers import NUMBERED
from tidelog.cli.output import Column, Kind
from tidelog.cli.progress import Progress, Share, share_of_file
from tidelog.cli.reasons import failure_of
from tidelog.cli.record import GivenRecord, RecordInputError, size_of
from tidelog.cli.record_input import records_of
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Verb, changing

if TYPE_CHECKING:
    from datetime import datetime

    from tidelog.client import Client
    from tidelog.producer import Producer
    from tidelog.producer_settings import Acks
    from tidelog.types import Ack, Compression

COLUMNS: Final = (
    Column("topic"),
    Column("partition", Kind.INTEGER, "PART"),
    Column("records", Kind.INTEGER),
    Column("first_offset", Kind.INTEGER, about="null with --acks none, and in a dry run."),
    Column("last_offset", Kind.INTEGER),
)
UNSETTLED_MAX: Final = 20_000
"""Acks that are awaited later, at most."""
RATE: Final = re.compile(r"(\d{1,9})(?:/s)?")

Row = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What to write, and how."""

    topic: str
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    partition: int | None
    compression: "Compression | None"
    acks: "Acks"
    rate: int | None
    """Records a second."""
    repartition: bool
    """Place records by their keys, whatever partition the input names."""


@dataclass(slots=True)
class Tally:
    """What became of the records."""

    sent: int = 0
    rows: dict[int, Row] = field(default_factory=dict)
    failures: dict[str, tuple[CommandFailed, int]] = field(default_factory=dict)
    """By reason: the first one, and how many."""

    def stored(self, ack: "Ack") -> None:
        """Count a record that is in the log."""
        row = self.rows.setdefault(
            ack.partition,
            {
                "topic": ack.topic,
                "partition": ack.partition,
                "records": 0,
                "first_offset": ack.offset,
                "last_offset": ack.offset,
            },
        )
        count = row["records"]
        row["records"] = count + 1 if isinstance(count, int) else 1
        row["last_offset"] = ack.offset

    def failed(self, failure: CommandFailed) -> None:
        """Count a record that is not, or perhaps."""
        reason = failure.reason or failure.text
        first, count = self.failures.get(reason, (failure, 0))
        self.failures[reason] = (first, count + 1)

    def errors(self) -> list[CommandFailed]:
        """Return what to tell: a line for each reason, with how many records it is."""
        told = []
        for first, count in self.failures.values():
            in_doubt = first.outcome == "UNKNOWN"
            what = "may or may not be stored" if in_doubt else "are not stored"
            told.append(
                CommandFailed(
                    f"{count} of {self.sent} records {what}: {first.text}",
                    hint=first.hint,
                    reason=first.reason,
                    exit_code=first.exit_code,
                    outcome=first.outcome,
                )
            )
        return told


def _note_format(context: click.Context, parameter: click.Parameter, value: object) -> object:
    """Take `-F json` as the format of the input, and of what is printed."""
    del parameter
    if value is not None:
        context.ensure_object(Run).note("format", value)
    return value


@click.command(
    cls=Verb,
    impact="rw",
    columns=COLUMNS,
    examples=(
        "echo 'hello' | tidelog produce orders",
        "tidelog produce orders -k alice --value '{\"total\": 9.5}' -H source:web",
        "tidelog produce orders -f '%k %v\\n' < in.txt",
        "tidelog consume orders -f json --no-follow | tidelog produce copy --format json",
        "tidelog produce orders -k alice --tombstone",
    ),
)
@click.argument("topic", shell_complete=topic_names)
@click.option("-k", "--key", help="Key of every record that has none of its own.")
@click.option("-v", "--value", "values", multiple=True, help="A value, instead of stdin.")
@click.option("--tombstone", is_flag=True, help="One record with a null value, no stdin.")
@click.option("-H", "--header", "headers", multiple=True, metavar="K:V", help="A header.")
@click.option("-p", "--partition", type=NUMBERED, help="Default: by the key.")
@click.option("--repartition", is_flag=True, help="Ignore the partitions that the input names.")
@click.option(
    "-z", "--compression", type=click.Choice(("none", "gzip", "snappy", "lz4", "zstd")),
    help="Default: zstd where it is installed.",
)  # fmt: skip
@click.option("--acks", type=click.Choice(("all", "leader", "none")), default="all",
              show_default=True, help="What an ack waits for.")  # fmt: skip
@click.option("--rate", metavar="N/s", help="At most so many records a second.")
@click.option("-f", "--record-format", "form", metavar="FORMAT", help="Of the input: '%k %v\\n'.")
@click.option(
    "-F", "--format", "input_format", type=click.Choice(("json", "jsonl", "text", "wide", "help")),
    callback=_note_format, is_eager=True, help="json: the input is a record in JSON on each line.",
)  # fmt: skip
@changing("what would be sent")
@click.pass_obj
def produce(  # noqa: PLR0913 - options, each by its name
    run: Run,
    /,
    *,
    topic: str,
    key: str | None,
    values: tuple[str, ...],
    tombstone: bool,
    headers: tuple[str, ...],
    partition: int | None,
    repartition: bool,
    compression: "Compression | None",
    acks: "Acks",
    rate: str | None,
    form: str | None,
    input_format: str | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Write a record for each line of stdin, or for each --value.

    Each is in the log once, and on disk, when the command says so.
    """
    del yes  # nothing is destroyed
    if tombstone and (values or key is None):
        raise Usage(
            "--tombstone is one record with a key and no value",
            hint=f"write: tidelog produce {topic} -k KEY --tombstone",
        )
    sending = Sending(
        topic=topic,
        key=None if key is None else key.encode(),
        headers=[_header(text) for text in headers],
        partition=partition,
        compression=compression,
        acks=acks,
        rate=_rate(rate),
        repartition=repartition,
    )
    by_name = "json" if input_format in {"json", "jsonl"} else "value"
    given = _given(values, form or by_name, tombstone=tombstone)
    if dry_run:
        return _dry_run(run, sending, given)
    share = None if values or tombstone else share_of_file(_stdin())
    return _produce(run, sending, given, share=share)


def _given(values: Sequence[str], form: str, *, tombstone: bool) -> Iterator[GivenRecord]:
    """Return the records of the command line, or of stdin."""
    if tombstone:
        return iter([GivenRecord()])
    if values:
        return iter([GivenRecord(value=value.encode()) for value in values])
    try:
        return records_of(_stdin(), form)
    except FormatError as refused:
        raise Usage(f"-f: {refused}", hint="see: tidelog produce --help") from refused


def _stdin() -> BinaryIO:
    """Return a reader of stdin of its own.

    The interpreter closes `sys.stdin` when it ends, and aborts if a thread waits in it just then.
    """
    try:
        return os.fdopen(sys.stdin.fileno(), "rb", closefd=False)
    except OSError:  # no file: it was given in its place
        return sys.stdin.buffer


def _produce(
    run: Run, sending: Sending, given: Iterator[GivenRecord], *, share: Share | None
) -> int:
    tally = Tally()
    progress = Progress(run, "records written", share=share)
    malformed: CommandFailed | None = None

    async def work(client: "Client") -> None:
        await _check_topic(client, sending)
        producer = client.producer(acks=sending.acks, compression=sending.compression)
        async with producer as opened:
            feed = Feed(given, size_of=size_of)
            await _send_all(
                client, sending, producer=opened, feed=feed, tally=tally, progress=progress
            )

    try:
        with_client(run, work)
    except RecordInputError as refused:
        malformed = CommandFailed(str(refused), hint=_MALFORMED)
    finally:
        progress.end()
    errors = [*tally.errors(), *([] if malformed is None else [malformed])]
    run.items(COLUMNS, _rows(tally), errors)
    return max((error.exit_code for error in errors), default=Exit.DONE)


_MALFORMED: Final = "what was read before it was sent; mend the input and go on from there"


async def _check_topic(client: "Client", sending: Sending) -> None:
    """Fail at once where the topic or the partition does not exist."""
    info = await client.topics.get(sending.topic)
    if sending.partition is not None and sending.partition >= info.partition_count:
        raise CommandFailed(
            f"{sending.topic} has no partition {sending.partition}, it has {info.partition_count}",
            hint="leave -p out, or grow it with: tidelog topic add-partitions",
            reason="UNKNOWN_PARTITION",
        )


async def _send_all(
    client: "Client",
    sending: Sending,
    *,
    producer: "Producer[bytes, bytes]",
    feed: Feed[GivenRecord],
    tally: Tally,
    progress: Progress,
) -> None:
    """Send every record and count what became of each."""
    tickets: deque[Awaitable[Ack]] = deque()
    clock = client.connection.clock
    began_s = clock.monotonic()
    try:
        async for given in feed:
            if sending.rate is not None:
                ahead_s = tally.sent / sending.rate - (clock.monotonic() - began_s)
                if ahead_s > 0:
                    await clock.sleep(ahead_s)
            tally.sent += 1
            tickets.append(await _enqueue(producer, sending, given))
            if len(tickets) > UNSETTLED_MAX:
                await _count(tickets.popleft(), tally)
            progress.show(tally.sent)
    finally:
        feed.close()
        while tickets:
            await _count(tickets.popleft(), tally)


async def _enqueue(
    producer: "Producer[bytes, bytes]", sending: Sending, given: GivenRecord
) -> "Awaitable[Ack]":
    own = [(name.decode("utf-8", "surrogateescape"), value) for name, value in given.headers]
    partition = sending.partition
    if partition is None and not sending.repartition:
        partition = given.partition
    return await producer.enqueue(
        sending.topic,
        given.value,
        key=sending.key if given.key is None else given.key,
        headers=[*own, *sending.headers],
        partition=partition,
        timestamp=_timestamp(given),
    )


async def _count(ticket: "Awaitable[Ack]", tally: Tally) -> None:
    from tidelog.errors import TidelogError  # noqa: PLC0415 - loaded by the client already

    try:
        tally.stored(await ticket)
    except TidelogError as error:
        failure = failure_of(error)
        if failure is None:
            raise
        tally.failed(failure)


def _timestamp(given: GivenRecord) -> "datetime | None":
    from tidelog.types import datetime_of  # noqa: PLC0415 - loaded by the client already

    return None if given.timestamp_ms is None else datetime_of(given.timestamp_ms)


def _rows(tally: Tally) -> list[Row]:
    return [row for _, row in sorted(tally.rows.items())]


def _dry_run(run: Run, sending: Sending, given: Iterator[GivenRecord]) -> int:
    """Count the input; send nothing."""
    try:
        count = sum(1 for _ in given)
    except RecordInputError as malformed:
        raise CommandFailed(str(malformed), hint="nothing was sent") from malformed
    row: Row = {
        "topic": sending.topic,
        "partition": sending.partition,
        "records": count,
        "first_offset": None,
        "last_offset": None,
    }
    run.tell("dry run: nothing was sent")
    return run.items(COLUMNS, [row])


def _header(text: str) -> tuple[str, bytes | None]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise Usage(f'-H "{text}" is not NAME:VALUE', hint="such as -H source:web")
    return name, value.encode()


def _rate(text: str | None) -> int | None:
    if text is None:
        return None
    found = RATE.fullmatch(text)
    if found is None or not int(found[1]):
        raise Usage(f'--rate "{text}" is no rate', hint="write --rate 1000/s") from None
    return int(found[1])
