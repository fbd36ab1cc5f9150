"""`tidelog topic`: the verbs that change something."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import click

from tidelog.cli.completing import topic_names
from tidelog.cli.failure import CommandFailed, Usage
from tidelog.cli.numbers import COUNT
from tidelog.cli.output import Column, Kind
from tidelog.cli.places import clock_option, place_of, start_of
from tidelog.cli.reasons import failure_of
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Verb, changing

if TYPE_CHECKING:
    from tidelog.client import Client
    from tidelog.types import Clock, Start, TopicInfo

Row = dict[str, object]

CREATE_COLUMNS: Final = (
    Column("topic"),
    Column("partitions", Kind.INTEGER),
    Column("replicas", Kind.INTEGER),
    Column("topic_id", wide=True),
    Column("changed", Kind.BOOLEAN, about="false: a dry run, or it was like that already."),
)
DELETE_COLUMNS: Final = (Column("topic"), Column("changed", Kind.BOOLEAN))
ALTER_COLUMNS: Final = (
    Column("topic"),
    Column("setting"),
    Column("value"),
    Column("source"),
    Column("changed", Kind.BOOLEAN),
)
TRIM_COLUMNS: Final = (
    Column("topic"),
    Column("partition", Kind.INTEGER, "PART"),
    Column("before", Kind.INTEGER, about="The log start as it was."),
    Column("after", Kind.INTEGER),
    Column("removed", Kind.INTEGER, about="Offsets that are no longer there."),
    Column("changed", Kind.BOOLEAN),
)
PARTITION_DIGITS_MAX: Final = 9
DELETES: Final = ("retention.", "cleanup.policy")
"""Settings by which a node deletes records."""


def settings_of(pairs: Sequence[str]) -> dict[str, str]:
    """Return the settings of `-c KEY=VALUE`.

    Raises:
        Usage: one is not of that shape, or named twice.
    """
    settings: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise Usage(f'-c "{pair}" is not KEY=VALUE', hint="such as -c retention.ms=86400000")
        if name.strip() in settings:
            raise Usage(f"-c {name} is given twice", hint="keep one of them")
        settings[name.strip()] = value
    return settings


@click.command(
    cls=Verb,
    impact="rw",
    columns=CREATE_COLUMNS,
    examples=(
        "tidelog topic create orders",
        "tidelog topic create orders payments -p 6 --if-not-exists",
        "tidelog topic create audit -c retention.ms=-1 --dry-run",
    ),
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-p", "--partitions", type=COUNT, help="1 unless told otherwise.")
@click.option("-r", "--replicas", type=COUNT, help="3, or as many as brokers.")
@click.option("-c", "--config", "pairs", multiple=True, metavar="KEY=VALUE", help="A setting.")
@click.option("--if-not-exists", is_flag=True, help="One that exists is no failure.")
@changing("what would be created")
@click.pass_obj
def create(
    run: Run, /, *, names: tuple[str, ...], pairs: tuple[str, ...], **options: object
) -> int:
    """Create topics."""
    config = settings_of(pairs)
    dry_run = bool(options["dry_run"])
    partitions, replicas = options["partitions"], options["replicas"]

    async def one(client: "Client", name: str) -> list[Row]:
        there = await _existing(client, name) if options["if_not_exists"] else None
        info = there or await client.topics.create(
            name,
            partitions=partitions if isinstance(partitions, int) else 0,
            replicas=replicas if isinstance(replicas, int) else 0,
            config=config,
            exist_ok=bool(options["if_not_exists"]),
            dry_run=dry_run,
        )
        made = there is None and not dry_run
        return [
            {
                "topic": name,
                "partitions": info.partition_count or None,
                "replicas": info.replication_factor or None,
                "topic_id": str(info.topic_id) if made or there else None,
                "changed": made,
            }
        ]

    return _each(run, CREATE_COLUMNS, names, one=one)


@click.command(
    cls=Verb,
    impact="rw",
    columns=DELETE_COLUMNS,
    examples=(
        "tidelog topic delete orders",
        "tidelog topic delete orders payments --if-exists --yes",
        "tidelog topic delete orders --dry-run",
    ),
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=topic_names)
@click.option("--if-exists", is_flag=True, help="One that does not exist is no failure.")
@changing("what would be deleted")
@click.pass_obj
def delete(
    run: Run, /, *, names: tuple[str, ...], if_exists: bool, dry_run: bool, yes: bool
) -> int:
    """Delete topics with all their records. Nothing brings them back."""
    if not dry_run:
        run.confirm(f"This deletes {', '.join(names)} with all records.", yes=yes)

    async def one(client: "Client", name: str) -> list[Row]:
        missing = if_exists and await _existing(client, name) is None
        if not missing:
            await client.topics.delete(name, missing_ok=if_exists, dry_run=dry_run)
        return [{"topic": name, "changed": not dry_run and not missing}]

    return _each(run, DELETE_COLUMNS, names, one=one)


@click.command(
    name="add-partitions",
    cls=Verb,
    impact="rw",
    columns=CREATE_COLUMNS,
    examples=(
        "tidelog topic add-partitions orders 12",
        "tidelog topic add-partitions orders 12 --dry-run",
    ),
)
@click.argument("name", shell_complete=topic_names)
@click.argument("total", type=COUNT)
@changing("what the topic would be")
@click.pass_obj
def add_partitions(run: Run, /, *, name: str, total: int, dry_run: bool, yes: bool) -> int:
    """Grow a topic to TOTAL partitions. Keys go to other partitions from then on."""
    del yes  # nothing is destroyed

    async def one(client: "Client", name: str) -> list[Row]:
        had = (await client.topics.get(name)).partition_count
        info = await client.topics.add_partitions(name, total, dry_run=dry_run)
        return [
            {
                "topic": name,
                "partitions": total if dry_run else info.partition_count,
                "replicas": info.replication_factor,
                "topic_id": str(info.topic_id),
                "changed": not dry_run and had != total,
            }
        ]

    return _each(run, CREATE_COLUMNS, (name,), one=one)


@click.command(
    cls=Verb,
    impact="rw",
    columns=ALTER_COLUMNS,
    examples=(
        "tidelog topic alter orders -c retention.ms=86400000",
        "tidelog topic alter orders --unset retention.ms",
        "tidelog topic alter orders -c max.message.bytes=2097152 --dry-run",
    ),
)
@click.argument("name", shell_complete=topic_names)
@click.option("-c", "--config", "pairs", multiple=True, metavar="KEY=VALUE", help="Set it.")
@click.option("--unset", multiple=True, metavar="KEY", help="Back to its default.")
@changing("the settings as they would be")
@click.pass_obj
def alter(
    run: Run, /, *, name: str, pairs: tuple[str, ...], unset: tuple[str, ...], **sure: bool
) -> int:
    """Change a topic's settings, all or none. What may delete records is asked for."""
    config, dry_run = settings_of(pairs), sure["dry_run"]
    if not config and not unset:
        raise Usage("nothing to change", hint="pass -c KEY=VALUE or --unset KEY")
    deleting = [key for key in (*config, *unset) if key.startswith(DELETES)]
    if deleting and not dry_run:
        run.confirm(f"{', '.join(deleting)} of {name} may delete records.", yes=sure["yes"])

    async def one(client: "Client", name: str) -> list[Row]:
        values = await client.topics.configure(name, set=config, unset=unset, dry_run=dry_run)
        return [
            {
                "topic": name,
                "setting": key,
                "value": value.value,
                "source": value.source,
                "changed": not dry_run,
            }
            for key, value in values.items()
        ]

    return _each(run, ALTER_COLUMNS, (name,), one=one)


@click.command(
    cls=Verb,
    impact="rw",
    columns=TRIM_COLUMNS,
    examples=(
        "tidelog topic trim orders --before @-7d --dry-run",
        "tidelog topic trim orders --before 10000 -p 0 --yes",
        "tidelog topic trim orders --before @2026-01-01 --clock append",
    ),
)
@click.argument("name", shell_complete=topic_names)
@click.option("--before", required=True, metavar="PLACE", help="The new log start: 42, end, @TIME.")
@click.option("-p", "--partition", "partitions", metavar="N,N", default="", help="Only these.")
@clock_option
@changing("what would be removed")
@click.pass_obj
def trim(
    run: Run, /, *, name: str, before: str, partitions: str, clock: "Clock", **sure: bool
) -> int:
    """Delete the records before a place from the front of each partition."""
    place, dry_run = start_of(place_of(before)), sure["dry_run"]
    chosen = numbers_of(partitions)

    async def plan(client: "Client", *, really: bool) -> tuple[list[Row], list[CommandFailed]]:
        return await _trim_each(
            client, name, place, clock=clock, partitions=chosen, dry_run=not really
        )

    rows, failed = with_client(run, lambda client: plan(client, really=False))
    if not dry_run and rows:
        removed = sum(row["removed"] for row in rows if isinstance(row["removed"], int))
        run.confirm(f"This deletes {removed} records of {name}.", yes=sure["yes"])
        rows, failed = with_client(run, lambda client: plan(client, really=True))
    return run.items(TRIM_COLUMNS, rows, failed)


async def _trim_each(
    client: "Client",
    name: str,
    place: "Start",
    *,
    clock: "Clock",
    partitions: Sequence[int],
    dry_run: bool,
) -> tuple[list[Row], list[CommandFailed]]:
    """Trim one partition after the other; one that fails does not stop the others."""
    from tidelog.errors import TidelogError  # noqa: PLC0415 - loaded by the client already

    info = await client.topics.get(name)
    starts = {one.id: one.log_start_offset or 0 for one in info.partitions}
    rows: list[Row] = []
    failed: list[CommandFailed] = []
    for number in partitions or sorted(starts):
        before = starts.get(number, 0)
        try:
            moved = await client.topics.trim(
                name, place, clock=clock, partitions=[number], dry_run=dry_run
            )
        except TidelogError as error:
            failure = failure_of(error)
            if failure is None:
                raise
            failed.append(failure)
            continue
        for after in moved.values():
            rows.append(
                {
                    "topic": name,
                    "partition": number,
                    "before": before,
                    "after": after,
                    "removed": max(0, after - before),
                    "changed": not dry_run,
                }
            )
    return rows, failed


async def _existing(client: "Client", name: str) -> "TopicInfo | None":
    """Return a topic; None: it does not exist."""
    from tidelog.errors import NotFound  # noqa: PLC0415 - loaded by the client already

    try:
        return await client.topics.get(name)
    except NotFound:
        return None


def numbers_of(text: str) -> list[int]:
    """Return the partitions of `-p 0,1`.

    Raises:
        Usage: one is no number.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if not (part.isascii() and part.isdigit() and len(part) <= PARTITION_DIGITS_MAX):
            raise Usage(f'-p "{text}": {part} is no partition', hint="write numbers: -p 0,1")
    return [int(part) for part in parts]


def _each(
    run: Run,
    columns: Sequence[Column],
    names: Sequence[str],
    *,
    one: "Callable[[Client, str], Awaitable[list[Row]]]",
) -> int:
    """Do something to each topic; one that fails does not stop the others."""

    async def work(client: "Client") -> tuple[list[Row], list[CommandFailed]]:
        from tidelog.errors import TidelogError  # noqa: PLC0415 - loaded by the client already

        rows: list[Row] = []
        failed: list[CommandFailed] = []
        for name in dict.fromkeys(names):
            try:
                rows += await one(client, name)
            except TidelogError as error:
                failure = failure_of(error)
                if failure is None or len(names) == 1:
                    raise
                failed.append(failure)
        return rows, failed

    rows, failed = with_client(run, work)
    return run.items(columns, rows, failed)


COMMANDS: Final = (create, delete, add_partitions, alter, trim)
