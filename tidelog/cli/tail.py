"""`tidelog tail`: follow the end of topics, a line for each record."""

import click

from tidelog.cli.completing import topic_names
from tidelog.cli.consume import FORMAT_HELP, grep_of, printing
from tidelog.cli.numbers import DISTANCE
from tidelog.cli.reading import Reading, read_records
from tidelog.cli.record import COLUMNS
from tidelog.cli.run import Run
from tidelog.cli.time_range import BeforeEnd, End, ReadRange
from tidelog.cli.topic_change import numbers_of
from tidelog.cli.verb import Verb


@click.command(
    cls=Verb,
    columns=COLUMNS,
    lines=True,
    examples=(
        "tidelog tail orders",
        "tidelog tail orders payments --lines 5",
        "tidelog tail orders --grep error -f '%k %v\\n'",
    ),
)
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC...", shell_complete=topic_names)
@click.option("-l", "--lines", type=DISTANCE, help="Begin N before the end.")
@click.option("-n", "--max", "records_max", type=click.IntRange(min=1), help="End after so many.")
@click.option("-p", "--partition", "partitions", metavar="N,N", default="", help="Only these.")
@click.option("-f", "--record-format", "form", metavar="FORMAT", help=FORMAT_HELP)
@click.option("--grep", metavar="RE", help="Only records whose key or value matches.")
@click.pass_obj
def tail(  # noqa: PLR0913 - options, each by its name
    run: Run,
    /,
    *,
    topics: tuple[str, ...],
    lines: int | None,
    records_max: int | None,
    partitions: str,
    form: str | None,
    grep: str | None,
) -> int:
    """Print records as they are written, until Ctrl-C."""
    return read_records(
        run,
        Reading(
            topics=topics,
            read=ReadRange(End() if lines is None else BeforeEnd(lines)),
            clock="event",
            follow=True,
            partitions=numbers_of(partitions),
            records_max=records_max,
            grep=grep_of(grep),
            printer=printing(run, form),
        ),
    )
