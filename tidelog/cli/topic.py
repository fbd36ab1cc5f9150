"""`tidelog topic`: the verbs that look; those that change are in `topic_change`."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from tidelog.cli import topic_change
from tidelog.cli.completing import topic_names
from tidelog.cli.failure import CommandFailed, Usage
from tidelog.cli.output import Column, Kind
from tidelog.cli.places import clock_option, place_of, start_of
from tidelog.cli.reasons import failure_of
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Noun, Verb
from tidelog.time_input import format_datetime

if TYPE_CHECKING:
    from tidelog.client import Client
    from tidelog.types import Clock, ConfigValue, TopicInfo

LIST_COLUMNS: Final = (
    Column("topic"),
    Column("partitions", Kind.INTEGER),
    Column("replicas", Kind.INTEGER),
    Column("kind"),
    Column("topic_id", wide=True),
    Column("create_time", wide=True),
    Column("config", Kind.OBJECT, wide=True, about="What differs from the defaults."),
)
PARTITION_COLUMNS: Final = (
    Column("topic"),
    Column("partition", Kind.INTEGER, "PART"),
    Column("leader", Kind.INTEGER),
    Column("epoch", Kind.INTEGER),
    Column("replicas", Kind.LIST),
    Column("in_sync", Kind.LIST),
    Column("log_start", Kind.INTEGER),
    Column("log_end", Kind.INTEGER, about="The high watermark: the end of what is committed."),
    Column("size", Kind.BYTES),
)
CONFIG_COLUMNS: Final = (
    Column("topic"),
    Column("setting"),
    Column("value"),
    Column("source", about="default, static, cluster, resource (set for this topic)."),
    Column("default", wide=True),
    Column("about", wide=True),
)
OFFSET_COLUMNS: Final = (
    Column("topic"),
    Column("partition", Kind.INTEGER, "PART"),
    Column("offset", Kind.INTEGER, about="null: no record at or after that time; the end."),
    Column("at_end", Kind.BOOLEAN, "END"),
    Column("time", about="Of the record that was found, on the clock asked for."),
    Column("truncated", Kind.BOOLEAN, about="History before it was removed, or may have been."),
    Column("log_start", Kind.INTEGER),
    Column("log_end", Kind.INTEGER),
)
SECTIONS: Final = ("summary", "partitions", "configs", "health")

Row = dict[str, object]


@click.group(
    cls=Noun,
    examples=(
        "tidelog topic create orders -p 6",
        "tidelog topic list",
        "tidelog topic describe orders",
        "tidelog topic offsets orders -o @-1h",
    ),
    coming=("copy",),
)
def topic() -> None:
    """Create, list, describe, change, trim and delete topics."""


for command in topic_change.COMMANDS:
    topic.add_command(command)


@topic.command(
    name="list",
    cls=Verb,
    columns=LIST_COLUMNS,
    examples=(
        "tidelog topic list",
        "tidelog topic list --prefix order -F json",
        "tidelog topic list -F wide",
    ),
)
@click.option("--prefix", default="", help="Only names that begin so.")
@click.option("-r", "--regex", metavar="RE", help="Only names that match.")
@click.option("--internal", is_flag=True, help="Tidelog's own topics too.")
@click.pass_obj
def list_topics(run: Run, /, *, prefix: str, regex: str | None, internal: bool) -> int:
    """List topics."""
    pattern = _regex(regex)

    async def work(client: "Client") -> list["TopicInfo"]:
        found = client.topics.list(prefix=prefix, include_internal=internal)
        return [each async for each in found if pattern is None or pattern.search(each.name)]

    return run.items(LIST_COLUMNS, [topic_row(each) for each in with_client(run, work)])


@topic.command(
    cls=Verb,
    columns=(*LIST_COLUMNS, Column("partition_rows", Kind.LIST), Column("configs", Kind.LIST)),
    examples=(
        "tidelog topic describe orders",
        "tidelog topic describe orders --section configs -F wide",
        "tidelog topic describe -r '^order' -F json",
    ),
)
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=topic_names)
@click.option("-r", "--regex", metavar="RE", help="Topics whose name matches.")
@click.option(
    "--section",
    "sections",
    metavar="LIST",
    default="summary,partitions,configs",
    show_default=True,
    help=f"Which parts: {', '.join(SECTIONS)}.",
)
@click.pass_obj
def describe(run: Run, /, *, names: tuple[str, ...], regex: str | None, sections: str) -> int:
    """Describe topics: partitions with their ends, and every setting that is not the default."""
    wanted = [part.strip() for part in sections.split(",") if part.strip()]
    unknown = [part for part in wanted if part not in SECTIONS]
    if unknown:
        raise Usage(f'there is no section "{unknown[0]}"', hint=f"there are {', '.join(SECTIONS)}")
    pattern = _regex(regex)
    if not names and pattern is None:
        raise Usage("name a topic, or pass --regex", hint="tidelog topic list shows the names")

    async def work(client: "Client") -> tuple[list[_Description], list[CommandFailed]]:
        every = list(names)
        if pattern is not None:
            matching = [t.name async for t in client.topics.list() if pattern.search(t.name)]
            if not matching:
                run.tell(f"no topic matches {regex}")
            every += matching
        return await _describe_all(client, every)

    found, failed = with_client(run, work)
    if run.is_json:
        return run.items((), [_document(each, wanted) for each in found], failed)
    for place, each in enumerate(found):
        if place:
            run.write("\n")
        _print(run, each, wanted)
    return run.items((), [], failed) if failed else 0


@topic.command(
    cls=Verb,
    columns=OFFSET_COLUMNS,
    examples=(
        "tidelog topic offsets orders",
        "tidelog topic offsets orders -o @2026-01-01",
        "tidelog topic offsets orders -o @-1h --clock append -F json",
    ),
)
@click.argument("name", shell_complete=topic_names)
@click.option(
    "-o", "--offset", "where", default="end", show_default=True, metavar="PLACE",
    help="start, end, 42, +10, -10, @TIME.",
)  # fmt: skip
@clock_option
@click.pass_obj
def offsets(run: Run, /, *, name: str, where: str, clock: "Clock") -> int:
    """Show where a place or a time lies in each partition: its offset, or the end."""
    place = start_of(place_of(where))

    async def work(client: "Client") -> list[Row]:
        return [
            {
                "topic": at.partition.topic,
                "partition": at.partition.partition,
                "offset": None if at.offset == "end" else at.offset,
                "at_end": at.offset == "end",
                "time": None if at.time is None else format_datetime(at.time),
                "truncated": at.truncated,
                "log_start": at.log_start_offset,
                "log_end": at.high_watermark,
            }
            for at in await client.topics.resolve(name, place, clock=clock)
        ]

    return run.items(OFFSET_COLUMNS, with_client(run, work))


class _Description:
    """A topic with its settings."""

    def __init__(self, info: "TopicInfo", config: "dict[str, ConfigValue]") -> None:
        self.info = info
        self.config = config


async def _describe_all(
    client: "Client", names: list[str]
) -> tuple[list[_Description], list[CommandFailed]]:
    """Return what is there of topics, and what failed of the others."""
    from tidelog.errors import TidelogError  # noqa: PLC0415 - loaded by the client already

    found, failed = [], []
    for name in dict.fromkeys(names):
        try:
            info = await client.topics.get(name)
            found.append(_Description(info, dict(await client.topics.config(name))))
        except TidelogError as error:
            failure = failure_of(error)
            if failure is None or len(names) == 1:
                raise
            failed.append(failure)
    return found, failed


def topic_row(info: "TopicInfo") -> Row:
    """Return a topic as one item."""
    return {
        "topic": info.name,
        "partitions": info.partition_count,
        "replicas": info.replication_factor,
        "kind": info.kind,
        "topic_id": str(info.topic_id),
        "create_time": format_datetime(info.create_time),
        "config": dict(info.config),
    }


def _partition_rows(info: "TopicInfo") -> list[Row]:
    return [
        {
            "topic": info.name,
            "partition": one.id,
            "leader": one.leader,
            "epoch": one.leader_epoch,
            "replicas": list(one.replicas),
            "in_sync": list(one.in_sync_replicas),
            "log_start": one.log_start_offset,
            "log_end": one.high_watermark,
            "size": one.size_bytes,
        }
        for one in info.partitions
    ]


def _config_rows(found: _Description) -> list[Row]:
    return [
        {
            "topic": found.info.name,
            "setting": name,
            "value": value.value,
            "source": value.source,
            "default": value.default,
            "about": value.documentation,
        }
        for name, value in sorted(found.config.items())
    ]


def _health(info: "TopicInfo") -> list[str]:
    """Return what is wrong with a topic, in sentences."""
    return [
        f"partition {one.id}: no leader" if one.leader is None
        else f"partition {one.id}: {len(one.replicas) - len(one.in_sync_replicas)} replicas behind"
        for one in info.partitions
        if one.leader is None or len(one.in_sync_replicas) < len(one.replicas)
    ]  # fmt: skip


def _document(found: _Description, sections: list[str]) -> Row:
    row = topic_row(found.info)
    if "partitions" in sections:
        row["partition_rows"] = _partition_rows(found.info)
    if "configs" in sections:
        row["configs"] = _config_rows(found)
    if "health" in sections:
        row["health"] = _health(found.info)
    return row


def _print(run: Run, found: _Description, sections: list[str]) -> None:
    """Print a topic in tables, a line between them."""
    blocks: list[tuple[Sequence[Column], list[Row]]] = []
    if "summary" in sections:
        blocks.append((LIST_COLUMNS, [topic_row(found.info)]))
    if "partitions" in sections:
        blocks.append((PARTITION_COLUMNS, _partition_rows(found.info)))
    if "configs" in sections:
        rows = _config_rows(found)
        changed = [row for row in rows if row["source"] != "default"]
        blocks.append((CONFIG_COLUMNS, rows if run.format == "wide" else changed))
    if sections == ["configs"] and not blocks[0][1]:
        run.tell(f"every setting of {found.info.name} has its default; see them with: -F wide")
    printed = 0
    for columns, rows in blocks:
        if rows:
            if printed:
                run.write("\n")
            run.items(columns, rows)
            printed += 1
    if "health" in sections:
        run.write("".join(f"{line}\n" for line in _health(found.info) or ["healthy"]))


def _regex(text: str | None) -> "re.Pattern[str] | None":
    if text is None:
        return None
    try:
        return re.compile(text)
    except re.error as malformed:
        raise Usage(f"--regex {text!r}: {malformed}", hint="quote it: -r '^order'") from malformed
