"""`tidelog group`: the verbs that look; those that change something are in `group_change`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from tidelog.cli import group_change
from tidelog.cli.completing import group_names
from tidelog.cli.failure import CommandFailed
from tidelog.cli.output import Column, Kind
from tidelog.cli.reasons import failure_of
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Noun, Verb

if TYPE_CHECKING:
    from tidelog.client import Client
    from tidelog.group_types import GroupInfo, GroupOffset, Member

LIST_COLUMNS: Final = (
    Column("group"),
    Column("state", about="empty, assigning, reconciling, stable, dead."),
    Column("kind", about="native: Consume; classic: Kafka's clients."),
    Column("epoch", Kind.INTEGER),
    Column("assignor", wide=True),
    Column("coordinator", Kind.INTEGER, wide=True),
)
SUMMARY_COLUMNS: Final = (
    Column("group"),
    Column("state"),
    Column("members", Kind.INTEGER),
    Column("total_lag", Kind.INTEGER, about="Offsets that were not read, over all partitions."),
    Column("max_lag_time", Kind.DURATION_MS, about="Age of the oldest record not read, ms."),
    Column("kind", wide=True),
    Column("epoch", Kind.INTEGER, wide=True),
    Column("assignor", wide=True),
)
OFFSET_COLUMNS: Final = (
    Column("topic"),
    Column("partition", Kind.INTEGER, "PART"),
    Column("committed", Kind.INTEGER, about="The next offset to read; null: nothing committed."),
    Column("log_start", Kind.INTEGER),
    Column("log_end", Kind.INTEGER),
    Column("lag", Kind.INTEGER),
    Column("lag_time", Kind.DURATION_MS, about="Age of the first record not read, ms."),
    Column("truncated", Kind.BOOLEAN, wide=True, about="Retention passed what is committed."),
    Column("member"),
    Column("host"),
)
MEMBER_COLUMNS: Final = (
    Column("member"),
    Column("client"),
    Column("host"),
    Column("instance", wide=True),
    Column("partitions", Kind.LIST),
    Column("pending", Kind.LIST, about="Assigned, but still held by another member."),
)

Row = dict[str, object]


@click.group(
    cls=Noun,
    examples=(
        "tidelog group list",
        "tidelog group describe billing",
        "tidelog group seek billing --to @-1h --dry-run",
    ),
    coming=("history", "peek", "export", "import"),
)
def group() -> None:
    """Show consumer groups and their lag, send them elsewhere, delete them."""


for command in group_change.COMMANDS:
    group.add_command(command)


@group.command(
    name="list",
    cls=Verb,
    columns=LIST_COLUMNS,
    examples=("tidelog group list", "tidelog group list --prefix bill -F json"),
)
@click.option("--prefix", default="", help="Only names that begin so.")
@click.pass_obj
def list_groups(run: Run, /, *, prefix: str) -> int:
    """List groups."""

    async def work(client: "Client") -> list["GroupInfo"]:
        return [each async for each in client.groups.list(prefix=prefix)]

    rows = [_list_row(each) for each in with_client(run, work)]
    if not run.is_json:
        rows = [row | {"state": str(row["state"]).capitalize()} for row in rows]
    return run.items(LIST_COLUMNS, rows)


@group.command(
    cls=Verb,
    columns=(*SUMMARY_COLUMNS, Column("offset_rows", Kind.LIST)),
    examples=("tidelog group describe billing", "tidelog group describe billing -F json"),
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=group_names)
@click.option("-t", "--topic", "topics", multiple=True, metavar="TOPIC", help="Only this topic.")
@click.pass_obj
def describe(run: Run, /, *, names: tuple[str, ...], topics: tuple[str, ...]) -> int:
    """Describe groups: where they stand in each partition, and how far behind they are."""

    async def work(client: "Client") -> tuple[list[_Description], list[CommandFailed]]:
        from tidelog.errors import TidelogError  # noqa: PLC0415 - loaded by the client already

        found: list[_Description] = []
        failed: list[CommandFailed] = []
        for name in dict.fromkeys(names):
            try:
                info = await client.groups.get(name)
                found.append(_Description(info, await client.groups.offsets(name, topics=topics)))
            except TidelogError as error:
                failure = failure_of(error)
                if failure is None or len(names) == 1:
                    raise
                failed.append(failure)
        return found, failed

    found, failed = with_client(run, work)
    if run.is_json:
        return run.items((), [each.document() for each in found], failed)
    for place, each in enumerate(found):
        if place:
            run.write("\n")
        summary = each.summary()
        run.items(SUMMARY_COLUMNS, [summary | {"state": each.info.state.capitalize()}])
        if each.offsets:
            run.write("\n")
            run.items(OFFSET_COLUMNS, each.rows())
    return run.items((), [], failed) if failed else 0


@group.command(
    cls=Verb,
    columns=MEMBER_COLUMNS,
    examples=("tidelog group members billing", "tidelog group members billing -F json"),
)
@click.argument("name", shell_complete=group_names)
@click.pass_obj
def members(run: Run, /, *, name: str) -> int:
    """Show a group's members, and which partitions each has."""

    async def work(client: "Client") -> "GroupInfo":
        return await client.groups.get(name)

    info = with_client(run, work)
    return run.items(MEMBER_COLUMNS, [_member_row(each) for each in info.members])


class _Description:
    """A group, and where it stands."""

    def __init__(self, info: "GroupInfo", offsets: "Sequence[GroupOffset]") -> None:
        self.info = info
        self.offsets = offsets

    def summary(self) -> Row:
        lags = [each.lag for each in self.offsets if each.lag is not None]
        ages = [_ms(each) for each in self.offsets]
        known = [age for age in ages if age is not None]
        return {
            "group": self.info.name,
            "state": self.info.state,
            "members": len(self.info.members),
            "total_lag": sum(lags) if lags else None,
            "max_lag_time": max(known) if known else None,
            "kind": self.info.kind,
            "epoch": self.info.epoch,
            "assignor": self.info.assignor,
        }

    def rows(self) -> list[Row]:
        hosts = {each.member_id: each.host for each in self.info.members}
        return [
            {
                "topic": each.partition.topic,
                "partition": each.partition.partition,
                "committed": None if each.committed is None else each.committed.offset,
                "log_start": each.log_start_offset,
                "log_end": each.high_watermark,
                "lag": each.lag,
                "lag_time": _ms(each),
                "truncated": each.truncated,
                "member": each.member_id,
                "host": hosts.get(each.member_id or ""),
            }
            for each in self.offsets
        ]

    def document(self) -> Row:
        return self.summary() | {"offset_rows": self.rows()}


def _ms(offset: "GroupOffset") -> int | None:
    return None if offset.lag_time is None else round(offset.lag_time.total_seconds() * 1000)


def _list_row(info: "GroupInfo") -> Row:
    return {
        "group": info.name,
        "state": info.state,
        "kind": info.kind,
        "epoch": info.epoch,
        "assignor": info.assignor,
        "coordinator": info.coordinator,
    }


def _member_row(member: "Member") -> Row:
    return {
        "member": member.member_id,
        "client": member.client_id,
        "host": member.host,
        "instance": member.instance_id,
        "partitions": [f"{at.topic}/{at.partition}" for at in member.assignment],
        "pending": [f"{at.topic}/{at.partition}" for at in member.pending],
    }
