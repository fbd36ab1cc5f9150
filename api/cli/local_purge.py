"""`tidelog local purge`: what a cluster on this machine has kept is deleted."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import click

from api.cli import local_nodes
from api.cli.local_options import data_option, node_option
from api.cli.local_plan import chosen
from api.cli.local_state import Home, LocalNode, running
from tidelog.cli.failure import CommandFailed, Exit
from tidelog.cli.output import Column, Kind
from tidelog.cli.run import Run
from tidelog.cli.verb import Verb, changing

PURGE_COLUMNS: Final = (
    Column("node", Kind.INTEGER),
    Column("data_dir", about="Deleted, with every record in it."),
    Column("changed", Kind.BOOLEAN),
)

Row = dict[str, object]


@click.command(
    cls=Verb,
    impact="rw",
    columns=PURGE_COLUMNS,
    examples=(
        "tidelog local purge",
        "tidelog local purge --stop --yes",
        "tidelog local purge --node 2 --dry-run",
    ),
)
@node_option
@data_option
@click.option("--stop", "stops", is_flag=True, help="Stop first what runs.")
@changing("what would be deleted")
@click.pass_obj
def purge(run: Run, /, **options: Any) -> int:
    """Delete the cluster with all its records, or with --node the data of one node.

    A node whose data was deleted stays a node of the cluster, as one whose disk was replaced.
    Exit 3 while it runs, unless --stop is given.
    """
    home = Home(options["data"])
    nodes = chosen(home.expect(), options["numbers"])
    _check_idle(nodes, stops=options["stops"])
    what = "all data of node " + ", ".join(str(one.number) for one in nodes)
    if options["dry_run"]:
        run.tell(f"dry run: would delete {what} in {home.path}")
        return run.items(PURGE_COLUMNS, _purged(home, nodes, changed=False))
    run.confirm(f"This deletes {what} in {home.path}.", yes=options["yes"])
    with home.locked():
        # While the question stood, another command may have started nodes, or added some.
        cluster = home.expect()
        present = chosen(cluster, options["numbers"])
        _check_idle(present, stops=options["stops"])
        if len(present) != len(nodes):
            raise CommandFailed(
                f"the cluster in {home.shown} has {len(present)} nodes by now",
                hint=f"nothing was deleted; look at it: tidelog local status {home.option}",
                exit_code=Exit.NOT_NOW,
            )
        failures = asyncio.run(local_nodes.stop(home, present, kill=False))
        if running(present):
            run.items(PURGE_COLUMNS, [], failures)
            return Exit.NOT_NOW
        if options["numbers"]:
            home.wipe([one.number for one in present])
        else:
            home.purge(cluster)
    return run.items(PURGE_COLUMNS, _purged(home, nodes, changed=True))


def _check_idle(nodes: Sequence[LocalNode], *, stops: bool) -> None:
    """Refuse to delete what runs, unless it is to be stopped first; exit 3."""
    found = running(nodes)
    if found and not stops:
        raise CommandFailed(
            f"still running: node {', '.join(map(str, sorted(found)))}",
            hint="stop them first, or add --stop",
            exit_code=Exit.NOT_NOW,
        )


def _purged(home: Home, nodes: Sequence[LocalNode], *, changed: bool) -> list[Row]:
    return [
        {"node": one.number, "data_dir": str(home.data(one.number)), "changed": changed}
        for one in nodes
    ]
