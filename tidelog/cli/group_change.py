"""`tidelog group`: the verbs that change something."""

import csv
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tidelog.cli.completing import group_names, topic_names
from tidelog.cli.failure import CommandFailed, Usage
from tidelog.cli.output import Column, Kind
from tidelog.cli.places import clock_option, place_of, start_of
from tidelog.cli.reasons import failure_of
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.topic_change import PARTITION_DIGITS_MAX
from tidelog.cli.verb import Verb, changing

if TYPE_CHECKING:
    from tidelog.client import Client
    from tidelog.errors import TidelogError
    from tidelog.group_types import SeekPlan, SeekTarget
    from tidelog.types import Clock, TopicPartition

Row = dict[str, object]

SEEK_COLUMNS: Final = (
    Column("topic"),
    Column("partition", Kind.INTEGER, "PART"),
    Column("current", Kind.INTEGER, about="null: nothing was committed."),
    Column("new", Kind.INTEGER),
    Column("delta", Kind.INTEGER),
    Column("redelivered", Kind.INTEGER, wide=True, about="Offsets that come again."),
    Column("skipped", Kind.INTEGER, wide=True, about="Offsets that this group will never get."),
    Column(
        "truncated",
        Kind.BOOLEAN,
        wide=True,
        about="What it was sent back to was removed, or may have been.",
    ),
    Column("changed", Kind.BOOLEAN, wide=True, about="false: a dry run."),
)
DELETE_COLUMNS: Final = (Column("group"), Column("changed", Kind.BOOLEAN))
FORGET_COLUMNS: Final = (
    Column("group"),
    Column("topic"),
    Column("partition", Kind.INTEGER, "PART"),
    Column("changed", Kind.BOOLEAN),
)
NUMBER: Final = re.compile("[0-9]{1,18}")
"""A partition or an offset: in the digits that everybody has, and not beyond what an offset is."""
FILE_FIELDS: Final = 3
"""topic,partition,offset."""

PlanOrDo = Callable[..., Coroutine[Any, Any, "SeekPlan"]]


@click.command(
    cls=Verb,
    impact="rw",
    columns=SEEK_COLUMNS,
    examples=(
        "tidelog group seek billing --to @2026-01-01 --dry-run",
        "tidelog group seek billing --to @-1h --clock append --yes --force",
        "tidelog group seek billing --by -100 --yes",
        "tidelog group seek billing --to-group audit --topic orders --yes",
    ),
)
@click.argument("name", shell_complete=group_names)
@click.option("--to", metavar="PLACE", help="start, end, 42, +10, -10, @TIME: in each partition.")
@click.option("--by", type=int, metavar="N", help="So many offsets on, or back: --by -100.")
@click.option(
    "--to-group", metavar="GROUP", help="Where another group stands.", shell_complete=group_names
)
@click.option("--to-file", metavar="FILE", help="Lines of topic,partition,offset.")
@click.option("--committed-at", hidden=True)
@click.option(
    "-t", "--topic", "topics", multiple=True, metavar="TOPIC", help="All of this topic.",
    shell_complete=topic_names,
)  # fmt: skip
@clock_option
@click.option("--force", is_flag=True, help="Also with live members: they go on from there.")
@changing("what would be delivered again")
@click.pass_obj
def seek(
    run: Run, /, *, name: str, topics: tuple[str, ...], clock: "Clock", **options: object
) -> int:
    """Send a group elsewhere, in all its partitions or in none."""
    dry_run, force = bool(options["dry_run"]), bool(options["force"])
    move = _move_of(name, options, topics=topics, clock=clock)

    async def plan(client: "Client") -> "SeekPlan":
        return await move(client, dry_run=True, force=force)

    async def apply(client: "Client") -> "SeekPlan":
        return await move(client, dry_run=False, force=force)

    planned = with_client(run, plan)
    if dry_run:
        code = run.items(SEEK_COLUMNS, _rows(planned))
        if planned.left:
            run.tell(_left(planned))
        run.tell(f"dry run: nothing changed. {_meaning(planned)}")
        if planned.member_count:
            run.tell(
                f"The group has {_members(planned)}; apply with --yes --force (they are fenced "
                "and resume there)."
            )
        return code
    if planned.member_count and not force:
        raise CommandFailed(
            f'group "{name}" has {_members(planned)}',
            hint="stop them, or pass --force: they are fenced and go on from the new place",
            reason="GROUP_NOT_EMPTY",
        )
    if planned.left:
        run.tell(_left(planned))
    run.confirm(f'This moves group "{name}". {_meaning(planned)}', yes=bool(options["yes"]))
    return run.items(SEEK_COLUMNS, _rows(with_client(run, apply)))


def _move_of(
    name: str, options: dict[str, object], *, topics: tuple[str, ...], clock: "Clock"
) -> PlanOrDo:
    """Return what plans or does the move that the options ask for.

    Raises:
        Usage: none or several of them say where, or one says what is no place.
    """
    words = {"to": "--to", "by": "--by", "to_group": "--to-group", "to_file": "--to-file"}
    if options["committed_at"] is not None:
        raise CommandFailed(
            "--committed-at of group seek is not built yet",
            hint="docs/reference/cli.md lists what this release does",
            reason="NOT_IMPLEMENTED",
            exit_code=2,
        )
    given = [word for word in words if options[word] is not None]
    if len(given) != 1:
        listed = ", ".join(words.values())
        raise Usage(f"say where with one of {listed}", hint="such as --to @-1h or --to start")
    by = options["by"]
    if isinstance(by, int):

        async def shift(client: "Client", *, dry_run: bool, force: bool) -> "SeekPlan":
            return await client.groups.shift(name, by, topics=topics, dry_run=dry_run, force=force)

        return shift
    target = _target_of(given[0], str(options[given[0]]), topics=topics)

    async def seek_to(client: "Client", *, dry_run: bool, force: bool) -> "SeekPlan":
        return await client.groups.seek(
            name, target, clock=clock, topics=topics, dry_run=dry_run, force=force
        )

    return seek_to


def _target_of(word: str, text: str, *, topics: tuple[str, ...]) -> "SeekTarget":
    from tidelog.group_types import SameAs  # noqa: PLC0415 - only for this verb

    if word == "to":
        return start_of(place_of(text))
    if word == "to_group":
        return SameAs(text)
    if topics:
        raise Usage("--to-file names the partitions", hint="leave --topic out")
    return _offsets_of(text)


def _offsets_of(path: str) -> "dict[TopicPartition, int]":
    """Return the offsets of a file with lines of topic,partition,offset; a header is passed over.

    Raises:
        Usage: it cannot be read, or a line is none.
    """
    from tidelog.types import TopicPartition  # noqa: PLC0415 - only for this verb

    try:
        rows = list(csv.reader(Path(path).read_text(encoding="utf-8").splitlines()))
    except (OSError, ValueError) as unreadable:
        raise Usage(f"--to-file {path}: {unreadable}", hint="name a text file") from unreadable
    offsets: dict[TopicPartition, int] = {}
    for number, row in enumerate(rows, 1):
        fields = [field.strip() for field in row]
        if not any(fields) or (number == 1 and fields == ["topic", "partition", "offset"]):
            continue
        if (
            len(fields) != FILE_FIELDS
            or not all(map(NUMBER.fullmatch, fields[1:]))
            or len(fields[1]) > PARTITION_DIGITS_MAX
        ):
            raise Usage(f"--to-file {path}: line {number} is not topic,partition,offset")
        at = TopicPartition(fields[0], int(fields[1]))
        if at in offsets:
            raise Usage(
                f"--to-file {path}: line {number} names {at.topic}/{at.partition} again",
                hint="say where it goes once",
            )
        offsets[at] = int(fields[2])
    if not offsets:
        raise Usage(f"--to-file {path} names no partition", hint="write topic,partition,offset")
    return offsets


def _rows(plan: "SeekPlan") -> list[Row]:
    return [
        {
            "topic": each.partition.topic,
            "partition": each.partition.partition,
            "current": each.before,
            "new": each.after,
            "delta": None if each.before is None else each.after - each.before,
            "redelivered": each.redelivered,
            "skipped": each.skipped,
            "truncated": each.truncated,
            "changed": plan.applied,
        }
        for each in plan.changes
    ]


def _meaning(plan: "SeekPlan") -> str:
    """Return what a plan means in sentences."""
    again = sum(each.redelivered for each in plan.changes)
    skipped = sum(each.skipped for each in plan.changes)
    cut = [
        f"{each.partition.topic}/{each.partition.partition}"
        for each in plan.changes
        if each.truncated
    ]
    removed = "retention removed none"
    if cut:
        removed = f"retention removed some of them, or may have, in {', '.join(cut)}"
    text = f"{_count(again)} would be delivered again; {removed}"
    return f"{text}. {_count(skipped)} would be skipped." if skipped else f"{text}."


def _left(plan: "SeekPlan") -> str:
    """Return what stays, in a sentence."""
    listed = ", ".join(f"{one.topic}/{one.partition}" for one in plan.left)
    return f"Nothing is committed there for {listed}: left as it is."


def _count(records: int) -> str:
    return "1 record" if records == 1 else f"{records} records"


def _members(plan: "SeekPlan") -> str:
    return "1 live member" if plan.member_count == 1 else f"{plan.member_count} live members"


@click.command(
    cls=Verb,
    impact="rw",
    columns=DELETE_COLUMNS,
    examples=(
        "tidelog group delete billing",
        "tidelog group delete billing audit --if-exists --yes",
        "tidelog group delete billing --dry-run",
    ),
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=group_names)
@click.option("--if-exists", is_flag=True, help="One that does not exist is no failure.")
@changing("what would be deleted")
@click.pass_obj
def delete(
    run: Run, /, *, names: tuple[str, ...], if_exists: bool, dry_run: bool, yes: bool
) -> int:
    """Delete groups without members, and what was committed."""
    if not dry_run:
        run.confirm(f"This deletes {', '.join(names)} and what was committed.", yes=yes)

    async def work(client: "Client") -> tuple[list[Row], list[CommandFailed]]:
        from tidelog.errors import NotFound, TidelogError  # noqa: PLC0415 - loaded already

        rows: list[Row] = []
        failed: list[CommandFailed] = []
        for name in dict.fromkeys(names):
            changed = not dry_run
            try:
                await client.groups.delete(name, dry_run=dry_run)
            except TidelogError as error:
                changed = False
                if not (if_exists and isinstance(error, NotFound)):
                    failure = _without_force(error, name)
                    if len(names) == 1:
                        raise failure from error
                    failed.append(failure)
                    continue
            rows.append({"group": name, "changed": changed})
        return rows, failed

    rows, failed = with_client(run, work)
    return run.items(DELETE_COLUMNS, rows, failed)


@click.command(
    name="delete-offsets",
    cls=Verb,
    impact="rw",
    columns=FORGET_COLUMNS,
    examples=(
        "tidelog group delete-offsets billing orders/0 orders/1",
        "tidelog group delete-offsets billing orders --dry-run",
    ),
)
@click.argument("name", shell_complete=group_names)
@click.argument(
    "partitions",
    nargs=-1,
    required=True,
    metavar="TOPIC[/PARTITION]...",
    shell_complete=topic_names,
)
@changing("what would be forgotten")
@click.pass_obj
def delete_offsets(
    run: Run, /, *, name: str, partitions: tuple[str, ...], dry_run: bool, yes: bool
) -> int:
    """Forget what a group has committed in partitions that no member reads."""
    named = [_partition_of(text) for text in dict.fromkeys(partitions)]
    if not dry_run:
        run.confirm(f"This forgets where {name} is in {', '.join(partitions)}.", yes=yes)

    async def work(client: "Client") -> "list[TopicPartition]":
        from tidelog.errors import Conflict  # noqa: PLC0415 - loaded by the client already

        chosen: list[TopicPartition] = []
        for topic, number in named:
            found = await _partitions_of(client, name, topic, number=number)
            if not found:
                run.tell(f'Group "{name}" has committed nothing in "{topic}": nothing to forget.')
            chosen += found
        chosen = list(dict.fromkeys(chosen))
        try:
            if chosen:
                await client.groups.delete_offsets(name, *chosen, dry_run=dry_run)
        except Conflict as conflict:
            raise _without_force(conflict, name) from conflict
        return chosen

    rows: list[Row] = [
        {
            "group": name,
            "topic": at.topic,
            "partition": at.partition,
            "changed": not dry_run,
        }
        for at in with_client(run, work)
    ]
    return run.items(FORGET_COLUMNS, rows)


def _without_force(error: "TidelogError", name: str) -> CommandFailed:
    """Return the failure of a verb that has no --force: live members have to be stopped."""
    failure = failure_of(error) or CommandFailed(str(error))
    if error.reason == "GROUP_NOT_EMPTY":
        failure.hint = f"stop its members first; they are in: tidelog group members {name}"
    return failure


def _partition_of(text: str) -> tuple[str, int | None]:
    """Return topic and number of `orders/0`; of `orders` no number.

    Raises:
        Usage: it is neither.
    """
    topic, slash, number = text.rpartition("/")
    if not slash:
        return text, None
    if not (number.isascii() and number.isdigit() and len(number) <= PARTITION_DIGITS_MAX):
        raise Usage(f'"{text}" is no partition', hint="write orders/0, or orders for all of it")
    return topic, int(number)


async def _partitions_of(
    client: "Client", group: str, topic: str, *, number: int | None
) -> "list[TopicPartition]":
    """Return one partition, or of a whole topic those in which something is committed."""
    from tidelog.types import TopicPartition  # noqa: PLC0415 - loaded by the client already

    if number is not None:
        return [TopicPartition(topic, number)]
    rows = await client.groups.offsets(group, topics=[topic])
    return [row.partition for row in rows if row.committed is not None]


COMMANDS: Final = (seek, delete, delete_offsets)
