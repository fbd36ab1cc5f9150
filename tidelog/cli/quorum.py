"""`tidelog quorum`: who votes on metadata; giving and taking votes, one at a time."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click

from tidelog.cli.failure import CommandFailed, Exit
from tidelog.cli.numbers import NUMBERED
from tidelog.cli.output import Column, Kind
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Noun, Verb, changing

if TYPE_CHECKING:
    from tidelog.client import Client
    from tidelog.cluster_types import QuorumInfo, QuorumMember

STATUS_COLUMNS: Final = (
    Column("node", Kind.INTEGER),
    Column(
        "role",
        about="leader; voter; learner: it is sent the log and does not count; removed: its vote "
        "was taken, and it gets none by itself.",
    ),
    Column("log_end", Kind.INTEGER, about="The newest entry that the leader knows it to have."),
    Column("lag", Kind.INTEGER, about="Entries that it lacks of what is committed."),
    Column("last_contact", Kind.DURATION_MS, about="Since the leader heard it, ms."),
    Column("endpoint", about="Where other nodes reach it."),
    Column("directory_id", wide=True, about="With the number it is the identity."),
    Column("term", Kind.INTEGER, wide=True, about="Counts the leaderships of the quorum."),
    Column("commit", Kind.INTEGER, wide=True, about="The newest entry that is committed."),
)
CHANGE_COLUMNS: Final = (
    Column("node", Kind.INTEGER),
    Column("voters", Kind.LIST, about="Who votes then."),
    Column("majority", Kind.INTEGER, about="So many of them decide."),
    Column("changed", Kind.BOOLEAN),
)
PATIENCE: Final = timedelta(seconds=60)
"""For a node to learn the metadata log before it gets its vote."""


@click.group(
    cls=Noun,
    examples=("tidelog quorum status", "tidelog quorum add 4", "tidelog quorum remove 1 --yes"),
)
def quorum() -> None:
    """Show and change who votes on metadata: the controller quorum."""


@quorum.command(
    cls=Verb,
    columns=STATUS_COLUMNS,
    examples=("tidelog quorum status", "tidelog quorum status -F wide"),
)
@click.pass_obj
def status(run: Run) -> int:
    """Show voters and learners, who leads, and how far each is with the metadata log."""

    async def work(client: "Client") -> "QuorumInfo":
        return await client.cluster.quorum()

    found = with_client(run, work)
    voters = sum(one.voter for one in found.members)
    leader = "no node leads" if found.leader is None else f"node {found.leader} leads"
    many = "1 voter" if voters == 1 else f"{voters} voters, {_majority(voters)} of them decide"
    run.tell(f"{leader} in term {found.term}; {many}")
    if found.leader is None:
        run.warn("metadata cannot change until a majority of the voters is reachable")
    return run.items(STATUS_COLUMNS, [_row(found, one) for one in found.members])


@quorum.command(
    cls=Verb,
    impact="rw",
    columns=CHANGE_COLUMNS,
    examples=("tidelog quorum add 4", "tidelog quorum add 4 --dry-run"),
)
@click.argument("node", type=NUMBERED, metavar="NODE")
@click.option("--directory", default="", metavar="UUID", help="Only if it has this directory.")
@changing("who would vote")
@click.pass_obj
def add(run: Run, /, *, node: int, directory: str, dry_run: bool, yes: bool) -> int:
    """Give a node that runs a vote; it first learns the metadata log."""
    del yes

    async def work(client: "Client") -> "QuorumInfo":
        before = await client.cluster.quorum()
        known = {one.id: one.state for one in (await client.cluster.get()).brokers}
        _check_new(before, node, known)
        if not dry_run:
            await client.cluster.add_voter(node, directory_id=directory)
        return before

    before = with_client(run, work, patience=PATIENCE)
    voters = [*_voters(before), node]
    return run.items(CHANGE_COLUMNS, [_change(node, voters, changed=not dry_run)])


@quorum.command(
    cls=Verb,
    impact="rw",
    columns=CHANGE_COLUMNS,
    examples=("tidelog quorum remove 1 --dry-run", "tidelog quorum remove 1 --yes"),
)
@click.argument("node", type=NUMBERED, metavar="NODE")
@click.option("--directory", default="", metavar="UUID", help="Only if it has this directory.")
@changing("who would vote")
@click.pass_obj
def remove(run: Run, /, *, node: int, directory: str, dry_run: bool, yes: bool) -> int:
    """Take a node's vote; refused where the others could decide nothing.

    It keeps its partitions, goes on as a learner if it runs, and gets no vote by itself: give it
    one with `quorum add`. Under a new, empty directory it is another member.
    """

    async def look(client: "Client") -> "QuorumInfo":
        return await client.cluster.quorum()

    async def apply(client: "Client") -> None:
        await client.cluster.remove_voter(node, directory_id=directory)

    before = with_client(run, look)
    voters = [one for one in _voters(before) if one != node]
    if len(voters) == len(_voters(before)):
        raise _no_vote(before, node)
    if not voters:
        raise CommandFailed(
            f"node {node} has the only vote",
            hint="give another node one first: tidelog quorum add NODE",
            reason="INVALID_REQUEST",
        )
    plan = (
        f"This takes the vote of node {node}. {_meaning(voters)} "
        f"It gets none by itself: tidelog quorum add {node} gives it one again."
    )
    if dry_run:
        code = run.items(CHANGE_COLUMNS, [_change(node, voters, changed=False)])
        run.tell(f"dry run: nothing changed. {plan}")
        return code
    run.confirm(plan, yes=yes)
    with_client(run, apply)
    return run.items(CHANGE_COLUMNS, [_change(node, voters, changed=True)])


def _row(found: "QuorumInfo", one: "QuorumMember") -> dict[str, object]:
    end, contact = one.log_end_offset, one.since_last_contact
    role = "voter" if one.voter else "removed" if one.vote_withheld else "learner"
    return {
        "node": one.node,
        "role": "leader" if one.node == found.leader and one.voter else role,
        "log_end": end,
        "lag": None if end is None else max(0, found.commit_offset - end),
        "last_contact": None if contact is None else round(contact.total_seconds() * 1000),
        "endpoint": one.endpoint or None,
        "directory_id": one.directory_id,
        "term": found.term,
        "commit": found.commit_offset,
    }


def _voters(found: "QuorumInfo") -> list[int]:
    return [one.node for one in found.members if one.voter]


def _change(node: int, voters: Sequence[int], *, changed: bool) -> dict[str, object]:
    return {
        "node": node,
        "voters": sorted(voters),
        "majority": _majority(len(voters)),
        "changed": changed,
    }


def _meaning(voters: Sequence[int]) -> str:
    """Return what a quorum of these can bear."""
    listed, most = ", ".join(map(str, sorted(voters))), _majority(len(voters))
    spare = len(voters) - most
    bears = "the loss of none" if not spare else f"the loss of {spare}"
    return f"Then {listed} would vote, {most} of them decide: the quorum bears {bears}."


def _majority(voters: int) -> int:
    return voters // 2 + 1


def _check_new(found: "QuorumInfo", node: int, known: Mapping[int, str]) -> None:
    """Refuse at once what a node would refuse, or wait for in vain."""
    if node not in known:
        there = ", ".join(map(str, sorted(known)))
        raise CommandFailed(
            f"there is no node {node}",
            hint=f"start it with the cluster's seeds and secret first; there are: {there}",
            reason="UNKNOWN_BROKER",
        )
    if node in _voters(found):
        raise CommandFailed(
            f"node {node} has a vote already",
            hint="see: tidelog quorum status",
            reason="DUPLICATE_VOTER",
        )
    if known[node] != "running":
        raise CommandFailed(
            f"node {node} is {known[node]}: it has to run, and learn the metadata log, first",
            hint=f"start it, or see why it is not heard: tidelog broker describe {node}",
            reason="NODE_UNREACHABLE",
            exit_code=Exit.NOT_NOW,
        )


def _no_vote(found: "QuorumInfo", node: int) -> CommandFailed:
    listed = ", ".join(map(str, _voters(found)))
    return CommandFailed(
        f"node {node} has no vote; these have one: {listed}",
        hint="see: tidelog quorum status",
        reason="UNKNOWN_VOTER",
    )
