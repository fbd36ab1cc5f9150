"""`tidelog get`: one record in full."""

from typing import TYPE_CHECKING, Final

import click

from tidelog.cli.completing import topic_names
from tidelog.cli.failure import CommandFailed
from tidelog.cli.numbers import NUMBERED, OFFSET
from tidelog.cli.output import Column, Kind, printable
from tidelog.cli.reading import shown
from tidelog.cli.record import COLUMNS as RECORD_COLUMNS
from tidelog.cli.record import to_json
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Verb
from tidelog.time_input import format_time

if TYPE_CHECKING:
    from tidelog.client import Client

COLUMNS: Final = (
    *RECORD_COLUMNS,
    Column("batch", Kind.OBJECT, about="What the stored batch that holds it says of itself."),
)

Row = dict[str, object]


@click.command(
    cls=Verb,
    columns=COLUMNS,
    examples=("tidelog get orders 0 17", "tidelog get orders 0 17 -F json"),
)
@click.argument("topic", shell_complete=topic_names)
@click.argument("partition", type=NUMBERED)
@click.argument("offset", type=OFFSET)
@click.pass_obj
def get(run: Run, /, *, topic: str, partition: int, offset: int) -> int:
    """Show the record at OFFSET of PARTITION: headers, batch, both times, checksum, producer."""

    async def work(client: "Client") -> Row:
        from tidelog.one_record import fetch_record  # noqa: PLC0415 - with the client

        record, batch = await fetch_record(client.connection, topic, partition, offset=offset)
        if record.offset != offset:
            raise CommandFailed(
                f"{topic}/{partition} has no record at offset {offset}; the next is "
                f"{record.offset}",
                hint=f"tidelog get {topic} {partition} {record.offset}",
                reason="OFFSET_OUT_OF_RANGE",
            )
        row = to_json(shown(record))
        row["batch"] = {
            "base_offset": batch.base_offset,
            "record_count": batch.record_count,
            "size_bytes": batch.size_bytes,
            "compression": batch.compression,
            "crc32c": f"{batch.crc32c:08x}",
            "producer_id": batch.producer_id,
            "producer_epoch": batch.producer_epoch,
            "base_sequence": batch.base_sequence,
        }
        return row

    row = with_client(run, work)
    if run.is_json:
        return run.items(COLUMNS, [row])
    lines = [(name, _text(name, item)) for name, item in row.items() if name != "batch"]
    batch = row["batch"]
    assert isinstance(batch, dict)
    lines += [(f"batch.{name}", str(item)) for name, item in batch.items()]
    width = max(len(name) for name, _ in lines)
    run.write("".join(f"{name:<{width}}  {text}\n" for name, text in lines))
    return 0


def _text(name: str, item: object) -> str:
    """Return a field for people; what could move a cursor is escaped."""
    if item is None:
        return "null"
    if name.endswith("_ms") and isinstance(item, int):
        try:
            return f"{item}  ({format_time(item)})"
        except OverflowError:
            return str(item)
    if name == "headers" and isinstance(item, list):
        return printable("; ".join(f"{_inner(h['key'])}={_inner(h['value'])}" for h in item)) or "-"
    return printable(_inner(item))


def _inner(item: object) -> str:
    if isinstance(item, dict):
        return f"base64:{item['base64']}"
    return "null" if item is None else str(item)
