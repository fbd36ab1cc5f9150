"""`tidelog broker`: the nodes one by one, what each carries, and its disk."""

from typing import TYPE_CHECKING, Final

import click

from tidelog.cli.failure import CommandFailed
from tidelog.cli.numbers import NUMBERED
from tidelog.cli.output import Column, Kind, shown
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Noun, Verb
from tidelog.time_input import format_datetime

if TYPE_CHECKING:
    from tidelog.client import Client
    from tidelog.types import Broker, ClusterInfo

LIST_COLUMNS: Final = (
    Column("broker", Kind.INTEGER),
    Column("state", about="running, draining, fenced (not heard any more), offline."),
    Column("controller", Kind.BOOLEAN, about="Whether this node leads the controller quorum."),
    Column("leaders", Kind.INTEGER, about="Partitions that it leads."),
    Column("replicas", Kind.INTEGER, about="Partitions that it has a copy of."),
    Column("disk_used", Kind.BYTES, about="Of its segments; null: the node did not say."),
    Column("disk_total", Kind.BYTES, about="Of the file system that they are on."),
    Column("rack"),
    Column("version", wide=True),
    Column("started", wide=True, about="When it began to serve."),
    Column("directory_ids", Kind.LIST, wide=True, about="With the number they are its identity."),
)
DESCRIBE_COLUMNS: Final = (
    *(column for column in LIST_COLUMNS if column.key != "controller"),
    Column("controller", Kind.BOOLEAN),
    Column("endpoints", Kind.OBJECT, about="Name of the listener to HOST:PORT."),
)
FIELD_COLUMNS: Final = (Column("broker", Kind.INTEGER), Column("field"), Column("value"))

Row = dict[str, object]


@click.group(
    cls=Noun,
    examples=("tidelog broker list", "tidelog broker describe 2"),
    coming=("logdirs", "drain", "undrain", "remove"),
)
def broker() -> None:
    """Show nodes: what they lead, what they hold, where they are reached."""


@broker.command(
    name="list",
    cls=Verb,
    columns=LIST_COLUMNS,
    examples=("tidelog broker list", "tidelog broker list -F wide"),
)
@click.pass_obj
def list_brokers(run: Run) -> int:
    """List the nodes that have registered."""
    found = with_client(run, _map)
    return run.items(LIST_COLUMNS, [_row(found, one) for one in found.brokers])


@broker.command(
    cls=Verb,
    columns=DESCRIBE_COLUMNS,
    examples=("tidelog broker describe 2", "tidelog broker describe 1 2 -F json"),
)
@click.argument("numbers", nargs=-1, required=True, type=NUMBERED, metavar="N...")
@click.pass_obj
def describe(run: Run, /, *, numbers: tuple[int, ...]) -> int:
    """Describe nodes: state, load, disk, and where each of their listeners is."""
    found = with_client(run, _map)
    known = {one.id: one for one in found.brokers}
    failed = [_unknown(number, known) for number in dict.fromkeys(numbers) if number not in known]
    rows = [
        _row(found, known[number]) | {"endpoints": dict(known[number].endpoints)}
        for number in dict.fromkeys(numbers)
        if number in known
    ]
    if run.is_json:
        return run.items(DESCRIBE_COLUMNS, rows, failed)
    fields = [field for row in rows for field in _fields(row, raw=run.raw)]
    return run.items(FIELD_COLUMNS, fields, failed)


async def _map(client: "Client") -> "ClusterInfo":
    return await client.cluster.get()


def _row(found: "ClusterInfo", one: "Broker") -> Row:
    return {
        "broker": one.id,
        "state": one.state,
        "controller": one.id == found.controller,
        "leaders": one.leaders,
        "replicas": one.replicas,
        "disk_used": one.disk_used_bytes,
        "disk_total": one.disk_total_bytes,
        "rack": one.rack or None,
        "version": one.version,
        "started": None if one.start_time is None else format_datetime(one.start_time),
        "directory_ids": list(one.directory_ids),
    }


def _fields(row: Row, *, raw: bool) -> list[Row]:
    """Return a row as one line for each field, listeners one by one."""
    number = row["broker"]
    flat = {
        column.key: shown(column, row[column.key], raw=raw)
        for column in LIST_COLUMNS
        if column.key != "broker"
    }
    endpoints = row["endpoints"]
    if isinstance(endpoints, dict):
        flat |= {f"endpoint.{name}": where for name, where in sorted(endpoints.items())}
    return [{"broker": number, "field": key, "value": value} for key, value in flat.items()]


def _unknown(number: int, known: "dict[int, Broker]") -> CommandFailed:
    there = ", ".join(map(str, sorted(known)))
    return CommandFailed(
        f"there is no node {number}", hint=f"there are: {there}", reason="UNKNOWN_BROKER"
    )
