"""`tidelog partition`: the verbs that change who leads."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from tidelog.cli.completing import topic_names
from tidelog.cli.failure import CommandFailed, Usage
from tidelog.cli.numbers import NUMBERED
from tidelog.cli.output import Column, Kind
from tidelog.cli.reasons import failure_of
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Verb, changing

if TYPE_CHECKING:
    from tidelog.client import Client
    from tidelog.cluster_types import UncleanElection
    from tidelog.types import Partition

TRANSFER_COLUMNS: Final = (
    Column("topic"),
    Column("partition", Kind.INTEGER, "PART"),
    Column("before", Kind.INTEGER, about="Who led it; null: nobody."),
    Column("leader", Kind.INTEGER, about="Who leads it now, or would."),
    Column("changed", Kind.BOOLEAN, about="false: a dry run, or it led already."),
)
ELECT_COLUMNS: Final = (
    Column("topic"),
    Column("partition", Kind.INTEGER, "PART"),
    Column("leader", Kind.INTEGER),
    Column("epoch", Kind.INTEGER),
    Column("log_end", Kind.INTEGER, about="Where the new leader's log ends."),
    Column("high_watermark", Kind.INTEGER, about="The last that a replica remembers."),
    Column("lost", Kind.INTEGER, about="Acknowledged offsets that are known to be lost."),
    Column("changed", Kind.BOOLEAN),
)
NOT_IN_SYNC: Final = "NO_ELIGIBLE_LEADER"
HINT: Final = "see who is in sync: tidelog partition status"
PLACE: Final = re.compile("([^/]+)/([0-9]{1,9})")

Row = dict[str, object]


def parts_of(name: str) -> tuple[str, int | None]:
    """Return the topic and the partition of `TOPIC/P`, or of `TOPIC` alone.

    Raises:
        Usage: it is neither.
    """
    found = PLACE.fullmatch(name)
    if found is not None:
        return found[1], int(found[2])
    if "/" in name:
        raise Usage(f'"{name}" is no partition', hint="write TOPIC/P, such as orders/0")
    return name, None


def place_of(name: str) -> tuple[str, int]:
    """Return the topic and the partition of `TOPIC/P`.

    Raises:
        Usage: it is something else.
    """
    topic, number = parts_of(name)
    if number is None:
        raise Usage(f'"{name}" names no partition', hint=f"write TOPIC/P, such as {topic}/0")
    return topic, number


@click.command(
    name="transfer-leader",
    cls=Verb,
    impact="rw",
    columns=TRANSFER_COLUMNS,
    examples=(
        "tidelog partition transfer-leader orders/0 --to 2",
        "tidelog partition transfer-leader orders/0 orders/1",
        "tidelog partition transfer-leader orders/0 --to 2 --dry-run",
    ),
)
@click.argument("names", nargs=-1, required=True, metavar="TOPIC/P...", shell_complete=topic_names)
@click.option(
    "--to",
    type=NUMBERED,
    metavar="NODE",
    help="An in-sync replica; else the preferred one, the first in the list of replicas.",
)
@changing("who would lead")
@click.pass_obj
def transfer_leader(
    run: Run, /, *, names: tuple[str, ...], to: int | None, dry_run: bool, yes: bool
) -> int:
    """Let another in-sync replica lead. Nothing is lost by it, so nothing is asked."""
    del yes
    places = [place_of(name) for name in dict.fromkeys(names)]

    async def work(client: "Client") -> tuple[list[Row], list[CommandFailed]]:
        from tidelog.errors import TidelogError  # noqa: PLC0415 - loaded by the client already

        rows: list[Row] = []
        failed: list[CommandFailed] = []
        for topic, number in places:
            try:
                rows.append(await _transferred(client, topic, number, to=to, dry_run=dry_run))
            except TidelogError as error:
                failure = failure_of(error)
                if failure is None:
                    raise
                if failure.reason == NOT_IN_SYNC:
                    failure.hint = HINT
                failed.append(failure)
            except CommandFailed as refused:
                failed.append(refused)
        return rows, failed

    rows, failed = with_client(run, work)
    if len(places) == 1 and failed and not run.is_json:
        raise failed[0]
    return run.items(TRANSFER_COLUMNS, rows, failed)


async def _transferred(
    client: "Client", topic: str, number: int, *, to: int | None, dry_run: bool
) -> Row:
    """Hand one leadership over, or only see whether that could be done."""
    before = _partition((await client.topics.get(topic)).partitions, topic, number)
    target = before.replicas[0] if to is None else to
    await client.cluster.transfer_leadership(topic, number, to=to, dry_run=dry_run)
    return {
        "topic": topic,
        "partition": number,
        "before": before.leader,
        "leader": target,
        "changed": not dry_run and before.leader != target,
    }


def _partition(partitions: "Sequence[Partition]", topic: str, number: int) -> "Partition":
    if number >= len(partitions):
        raise CommandFailed(
            f'topic "{topic}" has partitions 0 to {len(partitions) - 1}, not {number}',
            reason="UNKNOWN_PARTITION",
        )
    return partitions[number]


@click.command(
    cls=Verb,
    impact="rw",
    columns=ELECT_COLUMNS,
    examples=(
        "tidelog partition elect --unclean orders/0 --replica 3 --dry-run",
        "tidelog partition elect --unclean orders/0 --replica 3 --yes",
    ),
)
@click.argument("name", metavar="TOPIC/P", shell_complete=topic_names)
@click.option("--unclean", is_flag=True, help="Accept that acknowledged records are lost.")
@click.option(
    "--replica",
    type=NUMBERED,
    required=True,
    metavar="NODE",
    help="Who is to lead: its log is the partition from then on.",
)
@changing("what would be lost")
@click.pass_obj
def elect(run: Run, /, *, name: str, unclean: bool, replica: int, dry_run: bool, yes: bool) -> int:
    """Let a replica lead that may lack acknowledged records: those are lost for good.

    For a partition without a leader whose complete replicas will not come back; `cluster health`
    says whom it waits for. Readers who were further than the new log are told.
    """
    topic, number = place_of(name)
    if not unclean:
        raise Usage(
            "an election that loses nothing takes place by itself, without a command",
            hint="to go on without what is lost pass --unclean",
        )

    async def ask(client: "Client", *, only_look: bool) -> "UncleanElection":
        return await client.cluster.elect_unclean_leader(
            topic, number, replica=replica, dry_run=only_look
        )

    async def plan(client: "Client") -> "UncleanElection":
        return await ask(client, only_look=True)

    async def apply(client: "Client") -> "UncleanElection":
        return await ask(client, only_look=False)

    planned = with_client(run, plan)
    what = f"Node {replica} leads {topic}/{number} from epoch {planned.leader_epoch} on. "
    what += _loss(planned)
    if dry_run:
        code = run.items(ELECT_COLUMNS, [_row(name, replica, planned, changed=False)])
        run.tell(f"dry run: nothing changed. {what}")
        return code
    run.confirm(what, yes=yes)
    done = with_client(run, apply)
    return run.items(ELECT_COLUMNS, [_row(name, replica, done, changed=True)])


def _loss(planned: "UncleanElection") -> str:
    """Return what is lost, as far as anybody knows."""
    ends = f"Its log ends at {planned.log_end_offset}"
    told = "readers who were further are told (LOG_DIVERGED)."
    if planned.lost is None:
        return f"{ends}; what was acknowledged beyond is lost for good; {told}"
    if planned.lost == 0:
        return (
            f"{ends}, and no replica that answers remembers more as acknowledged; "
            f"what only missing nodes have is lost for good; {told}"
        )
    return (
        f"{ends}, and up to {planned.last_high_watermark} was acknowledged: {planned.lost} offsets "
        f"are lost for good, and perhaps more that only missing nodes have; {told}"
    )


def _row(name: str, replica: int, election: "UncleanElection", *, changed: bool) -> Row:
    topic, number = place_of(name)
    return {
        "topic": topic,
        "partition": number,
        "leader": replica,
        "epoch": election.leader_epoch,
        "log_end": election.log_end_offset,
        "high_watermark": election.last_high_watermark,
        "lost": election.lost,
        "changed": changed,
    }


COMMANDS: Final = (transfer_leader, elect)
