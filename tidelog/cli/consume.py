"""`tidelog consume`: read records from a place, over a range of time, or on for ever."""

import re
from typing import TYPE_CHECKING

import click

from tidelog.cli.completing import group_names, topic_names
from tidelog.cli.failure import Usage, not_built
from tidelog.cli.format_verbs import FormatError
from tidelog.cli.numbers import DISTANCE
from tidelog.cli.places import clock_option, read_range_of
from tidelog.cli.reading import Printer, Reading, printer_of, read_records
from tidelog.cli.record import COLUMNS, META_COLUMNS
from tidelog.cli.run import Run
from tidelog.cli.time_range import GRAMMAR, BeforeEnd, ReadRange, Start
from tidelog.cli.topic_change import numbers_of
from tidelog.cli.verb import Verb

if TYPE_CHECKING:
    from tidelog.types import Clock

COMING = ("--order", "--key-prefix", "--header", "--type")
FORMAT_HELP = "text, json, json-pretty, value, or a format such as '%k %v\\n'."


def grep_of(text: str | None) -> "re.Pattern[bytes] | None":
    """Return what `--grep` looks for.

    Raises:
        Usage: it is no regular expression.
    """
    if text is None:
        return None
    try:
        return re.compile(text.encode())
    except re.error as malformed:
        raise Usage(f"--grep {text!r}: {malformed}", hint="quote it: --grep 'a|b'") from malformed


def printing(run: Run, form: str | None, *, meta_only: bool = False) -> Printer:
    """Return what prints a record.

    Raises:
        Usage: the format string is none.
    """
    try:
        return printer_of(run, form, meta_only=meta_only)
    except FormatError as refused:
        raise Usage(f"-f: {refused}", hint="see: tidelog consume --help") from refused


@click.command(
    cls=Verb,
    columns=(*COLUMNS, *META_COLUMNS),
    lines=True,
    impact="rw",  # a member of a group commits
    ro_without=("--group",),
    examples=(
        "tidelog consume orders -o start",
        "tidelog consume orders -o @-1h:end",
        "tidelog consume orders -o @2026-01-01:@2026-01-02 -f '%d{strftime[%T]} %k %v\\n'",
        "tidelog consume orders --tail 10 --no-follow -F json",
        "tidelog consume orders --grep 'total.*99' -n 1",
        "tidelog consume orders -g billing -o start",
    ),
    epilog="\b\nPLACES AND RANGES\n" + GRAMMAR,
)
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC...", shell_complete=topic_names)
@click.option(
    "-o",
    "--offset",
    "where",
    metavar="RANGE",
    help="Where; default: start. See below. With -g: where nothing is committed yet.",
)
@clock_option
@click.option("-n", "--max", "records_max", type=click.IntRange(min=1), help="End after so many.")
@click.option("-p", "--partition", "partitions", metavar="N,N", default="", help="Only these.")
@click.option("-f", "--record-format", "form", metavar="FORMAT", help=FORMAT_HELP)
@click.option("--grep", metavar="RE", help="Only records whose key or value matches.")
@click.option("--tail", type=DISTANCE, help="The last N of each partition. With -g as -o.")
@click.option(
    "--follow/--no-follow", default=None, help="Wait for more; on where nothing stops it."
)
@click.option("--meta-only", is_flag=True, help="No key, value and headers: their sizes.")
@click.option("--uncommitted", is_flag=True, help="Records of open transactions too.")
@click.option(
    "-g", "--group", metavar="GROUP", help="As a member; what is printed is committed.",
    shell_complete=group_names,
)  # fmt: skip
@click.option("--order", hidden=True)
@click.option("--key-prefix", hidden=True)
@click.option("--header", hidden=True)
@click.option("--type", "event_type", hidden=True)
@click.pass_obj
def consume(  # noqa: PLR0913 - options, each by its name
    run: Run,
    /,
    *,
    topics: tuple[str, ...],
    where: str | None,
    clock: "Clock",
    records_max: int | None,
    partitions: str,
    form: str | None,
    grep: str | None,
    tail: int | None,
    follow: bool | None,
    meta_only: bool,
    uncommitted: bool,
    group: str | None,
    **later: str | None,
) -> int:
    """Print records. Without a stop in the range it waits for more; Ctrl-C ends it."""
    for name, given in later.items():
        if given is not None:
            raise not_built(f"--{name.replace('_', '-').removeprefix('event-')} of consume")
    read = _range(where, tail)
    if read.stop is not None and follow:
        raise Usage("--follow goes on after a range that ends", hint="leave the stop out")
    reading = Reading(
        topics=topics,
        read=read,
        clock=clock,
        follow=read.stop is None and follow is not False,
        partitions=numbers_of(partitions),
        records_max=records_max,
        grep=grep_of(grep),
        printer=printing(run, form, meta_only=meta_only),
        uncommitted=uncommitted,
    )
    if group is None:
        return read_records(run, reading)
    return _in_group(run, reading, group, placed=where is not None or tail is not None)


def _in_group(run: Run, reading: Reading, group: str, *, placed: bool) -> int:
    """Read as a member of a group; `placed`: a place to begin at was asked for.

    Raises:
        Usage: an option that says what the group says.
    """
    from tidelog.cli.group_reading import read_in_group  # noqa: PLC0415 - only with -g

    if not group:
        raise Usage("-g is empty", hint="name the group: -g billing")
    if reading.partitions:
        raise Usage("-p and -g both say which partitions", hint="leave -p out: the group shares")
    if reading.read.stop is not None:
        raise Usage("a group goes on: -o has no stop", hint="end it with -n, or with --no-follow")
    return read_in_group(run, reading, group, placed=placed)


def _range(where: str | None, tail: int | None) -> ReadRange:
    if tail is not None:
        if where is not None:
            raise Usage("--tail and -o both say where to begin", hint=f"write -o -{tail}")
        return ReadRange(BeforeEnd(tail))
    return ReadRange(Start()) if where is None else read_range_of(where)
