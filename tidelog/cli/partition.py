"""`tidelog partition`: who leads each partition, who is in sync, and what is missing."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from tidelog.cli import partition_change
from tidelog.cli.completing import topic_names
from tidelog.cli.failure import CommandFailed
from tidelog.cli.output import Column, Kind
from tidelog.cli.partition_change import parts_of
from tidelog.cli.reasons import failure_of
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Noun, Verb

if TYPE_CHECKING:
    from tidelog.client import Client
    from tidelog.types import ClusterInfo, Partition, TopicInfo

STATUS_COLUMNS: Final = (
    Column("topic"),
    Column("partition", Kind.INTEGER, "PART"),
    Column("leader", Kind.INTEGER),
    Column("epoch", Kind.INTEGER, about="Counts its leaderships."),
    Column("replicas", Kind.LIST, about="Preferred leader first."),
    Column("in_sync", Kind.LIST, about="The ISR: who has everything, and may lead at once."),
    Column("eligible", Kind.LIST, about="The ELR: not in sync, yet complete enough to lead."),
    Column("missing", Kind.LIST, about="Replicas that are not in sync."),
    Column("log_start", Kind.INTEGER, wide=True),
    Column("log_end", Kind.INTEGER, about="The high watermark: the end of what is committed."),
    Column(
        "replica_ends",
        Kind.OBJECT,
        wide=True,
        about="By node, where its log ends, as the leader knows; who is not there is not heard.",
    ),
    Column("size", Kind.BYTES, wide=True),
    Column("state", about="ok; under-replicated; under-min-isr: refuses acks=all; leaderless."),
)
ASKED_AT_ONCE: Final = 8
"""Topics that are described at the same time."""

Row = dict[str, object]


@click.group(
    cls=Noun,
    examples=(
        "tidelog partition status orders",
        "tidelog partition transfer-leader orders/0 --to 2",
        "tidelog partition elect --unclean orders/0 --replica 3 --dry-run",
    ),
    coming=("move", "rebalance"),
)
def partition() -> None:
    """Show who leads partitions and who is in sync, hand leaderships over."""


for command in partition_change.COMMANDS:
    partition.add_command(command)


@partition.command(
    cls=Verb,
    columns=STATUS_COLUMNS,
    examples=(
        "tidelog partition status",
        "tidelog partition status orders/3",
        "tidelog partition status --unhealthy -F json",
    ),
)
@click.argument("names", nargs=-1, metavar="[TOPIC[/P]...]", shell_complete=topic_names)
@click.option("--unhealthy", is_flag=True, help="Only those that are not as they should be.")
@click.option("--internal", is_flag=True, help="Those of Tidelog's own topics too.")
@click.pass_obj
def status(run: Run, /, *, names: tuple[str, ...], unhealthy: bool, internal: bool) -> int:
    """Show each partition: its leader, its replicas, who is in sync, and what is missing."""
    wanted = [parts_of(name) for name in names]

    async def work(client: "Client") -> tuple["ClusterInfo", list[Row], list[CommandFailed]]:
        topics = list(dict.fromkeys(topic for topic, _ in wanted))
        if not names:
            found = client.topics.list(include_internal=internal)
            topics = [each.name async for each in found]
        described, failed = await _described(client, topics)
        cluster = await client.cluster.get()
        rows = [row for info in described for row in _rows(info, cluster)]
        if names:
            rows = [row for row in rows if _is_wanted(row, wanted)]
            failed += _unknown(described, wanted)
        return cluster, rows, failed

    cluster, rows, failed = with_client(run, work)
    if unhealthy:
        rows = [row for row in rows if row["state"] != "ok"]
        if not rows and not failed:
            run.tell("every partition is as it should be")
    code = run.items(STATUS_COLUMNS, rows, failed)
    if any(row["state"] in {"leaderless", "under-min-isr"} for row in rows):
        for reason in cluster.reasons:
            run.warn(reason)
    return code


async def _described(
    client: "Client", topics: Sequence[str]
) -> tuple[list["TopicInfo"], list[CommandFailed]]:
    """Return what is there of topics, in their order, and what failed of the others."""
    from tidelog.errors import TidelogError  # noqa: PLC0415 - loaded by the client already

    room = asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(name: str) -> "TopicInfo | CommandFailed":
        async with room:
            try:
                return await client.topics.get(name)
            except TidelogError as error:
                failure = failure_of(error)
                if failure is None or len(topics) == 1:
                    raise
                return failure

    found = await asyncio.gather(*map(one, topics))
    infos = [each for each in found if not isinstance(each, CommandFailed)]
    return infos, [each for each in found if isinstance(each, CommandFailed)]


def _rows(info: "TopicInfo", cluster: "ClusterInfo") -> list[Row]:
    refusing = {(one.topic, one.partition) for one in cluster.under_min_isr}
    return [
        {
            "topic": info.name,
            "partition": one.id,
            "leader": one.leader,
            "epoch": one.leader_epoch,
            "replicas": list(one.replicas),
            "in_sync": list(one.in_sync_replicas),
            "eligible": list(one.eligible_leaders),
            "missing": [node for node in one.replicas if node not in one.in_sync_replicas],
            "log_start": one.log_start_offset,
            "log_end": one.high_watermark,
            "replica_ends": {str(node): end for node, end in one.replica_log_ends.items()},
            "size": one.size_bytes,
            "state": _state(one, refuses=(info.name, one.id) in refusing),
        }
        for one in info.partitions
    ]


def _state(one: "Partition", *, refuses: bool) -> str:
    if one.leader is None:
        return "leaderless"
    if refuses:
        return "under-min-isr"
    return "ok" if len(one.in_sync_replicas) == len(one.replicas) else "under-replicated"


def _is_wanted(row: Row, wanted: Sequence[tuple[str, int | None]]) -> bool:
    place = (row["topic"], row["partition"])
    return place in wanted or (row["topic"], None) in wanted


def _unknown(
    described: Sequence["TopicInfo"], wanted: Sequence[tuple[str, int | None]]
) -> list[CommandFailed]:
    """Return the failures of partitions that a topic does not have."""
    counts = {info.name: len(info.partitions) for info in described}
    return [
        CommandFailed(
            f'topic "{topic}" has partitions 0 to {counts[topic] - 1}, not {number}',
            reason="UNKNOWN_PARTITION",
        )
        for topic, number in wanted
        if number is not None and topic in counts and number >= counts[topic]
    ]
