"""`tidelog local`: a cluster of processes on this machine, the twin of compose.yaml."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from api.cli import local_nodes
from api.cli.local_logs import Followed, Line, follow, tail
from api.cli.local_nodes import Seen
from api.cli.local_options import DATA_DIR, data_option, node_option
from api.cli.local_plan import check_ports, chosen, planned, with_overrides
from api.cli.local_ports import NODES_MAX
from api.cli.local_process import Standing
from api.cli.local_purge import purge
from api.cli.local_state import Home, LocalCluster, LocalNode, running, standing_of
from tidelog.cli.failure import CommandFailed, Exit, Usage
from tidelog.cli.output import Column, Kind, lines_of
from tidelog.cli.run import Run
from tidelog.cli.verb import Noun, Verb, changing

if TYPE_CHECKING:
    from tidelog.types import ClusterInfo

CLUSTER_ID: Final = "demo"
READY_S: Final = 60
"""Three empty nodes are ready in some seconds, a node with much to recover in as many as it takes
(P5): then --timeout."""
LINES: Final = 50

COLUMNS: Final = (
    Column("node", Kind.INTEGER),
    Column("pid", Kind.INTEGER),
    Column("state", about="running, paused (SIGSTOP), stopped, crashed."),
    Column("exit_code", Kind.INTEGER, "EXIT", about="Of its last process; null: unknown."),
    Column("ready", Kind.BOOLEAN, about="Clients may come."),
    Column("controller", Kind.INTEGER, about="Who leads the quorum, as this node knows."),
    Column("kafka", about="Where Kafka clients reach it."),
    Column("grpc", about="Where clients of Tidelog reach it."),
    Column("http", about="Health, metrics, status page."),
    Column("peer", wide=True, about="Where other nodes reach it."),
    Column("data_dir", wide=True),
    Column("log", wide=True),
    Column("detail", wide=True, about="Why it is not ready."),
)
CHANGED_COLUMNS: Final = (
    *COLUMNS,
    Column("changed", Kind.BOOLEAN, about="false: a dry run, or so."),
)
LOG_COLUMNS: Final = (Column("node", Kind.INTEGER), Column("line"))

Row = dict[str, object]


@click.group(
    cls=Noun,
    examples=(
        "tidelog local start -n 3",
        "tidelog local status",
        "tidelog local stop",
        "tidelog local purge",
    ),
)
def local() -> None:
    """Run a cluster of several nodes on this machine, each a process."""


@local.command(
    cls=Verb,
    impact="rw",
    columns=CHANGED_COLUMNS,
    examples=(
        "tidelog local start -n 3",
        "tidelog local start --node 2",
        "tidelog local start --any-port --data /tmp/tide -X topics.auto_create=true",
        "tidelog local start -n 4 --dry-run",
    ),
)
@click.option(
    "-n", "count", type=click.IntRange(1, NODES_MAX), metavar="N",
    help="So many nodes, 3 at first; more than there are: the others join.",
)  # fmt: skip
@node_option
@data_option
@click.option("--any-port", is_flag=True, help="New nodes take free ports, and keep them.")
@click.option("--cluster-id", metavar="NAME", help=f"Of a new cluster; default {CLUSTER_ID}.")
@click.option(
    "--timeout", "timeout_s", type=click.IntRange(1, 3_600), default=READY_S, metavar="SECONDS",
    help=f"Until they must be ready; default {READY_S}.",
)  # fmt: skip
@changing("which nodes would be started")
@click.pass_obj
def start(run: Run, /, **options: Any) -> int:
    """Start what does not run: all nodes, or those that are named.

    The nodes go on when the command ends. They listen on loopback alone, at the ports that
    compose.yaml shows, or with --any-port at free ones; -X holds for every node, also later. Exit 3
    if a node is not ready in time, 10 to 13 if one refuses to run (see tidelog serve).
    """
    home = Home(options["data"])
    if options["dry_run"]:
        cluster = _wanted(home, run, options)
        nodes = chosen(cluster, options["numbers"])
        idle = [one for one in nodes if standing_of(one) is Standing.GONE]
        check_ports(idle)
        seen = asyncio.run(local_nodes.look(home, nodes))
        run.tell(f"dry run: {_would_start(idle, drawn=options['any_port'])}")
        return run.items(CHANGED_COLUMNS, [_row(home, one) | _unchanged() for one in seen])
    with home.locked():
        cluster = _wanted(home, run, options)
        idle = [
            one for one in chosen(cluster, options["numbers"]) if standing_of(one) is Standing.GONE
        ]
        check_ports(idle)
        home.make_secret()
        home.write(cluster)
        started = asyncio.run(
            local_nodes.start(
                home,
                cluster,
                idle,
                environment=run.environment,
                timeout_s=options["timeout_s"],
            )
        )
    failures, cluster = started.failures, started.cluster
    seen = asyncio.run(local_nodes.look(home, cluster.nodes))
    found = _led(seen)
    numbers = {one.number for one in idle}
    rows = [_row(home, one) | {"changed": one.node.number in numbers} for one in seen]
    if not failures and found is None:
        failures = [_no_quorum(home)]
    code = run.items(CHANGED_COLUMNS, rows, failures)
    if not failures and found is not None and not run.is_json:
        run.tell(f"cluster {found.cluster_id}: node {found.controller} leads the quorum")
        _tell_what_to_try(run, home, cluster)
    return _code_of(failures) or code


def _wanted(home: Home, run: Run, options: Mapping[str, Any]) -> LocalCluster:
    """Return the cluster as the command line asks for it."""
    known = home.read()
    name = options["cluster_id"]
    if known is not None and name not in {None, known.cluster_id}:
        raise Usage(
            f"--cluster-id {name}: the cluster in {home.shown} is {known.cluster_id}",
            hint="name another directory: --data DIR",
        )
    cluster = planned(
        known, count=options["count"], cluster_id=name or CLUSTER_ID, any_port=options["any_port"]
    )
    return with_overrides(cluster, run.overrides)


def _would_start(nodes: Sequence[LocalNode], *, drawn: bool) -> str:
    """Say what a start would do; `drawn`: the free ports of new nodes are drawn by it."""
    if not nodes:
        return "all of them run"
    numbers = ", ".join(str(one.number) for one in nodes)
    return f"would start node {numbers}{'; new nodes draw other ports then' if drawn else ''}"


def _unchanged() -> Row:
    return {"changed": False}


def _no_quorum(home: Home) -> CommandFailed:
    return CommandFailed(
        "no node leads the metadata quorum",
        hint=f"a majority of the nodes must run: tidelog local status {home.option}",
        reason="NO_QUORUM",
        exit_code=Exit.NOT_NOW,
    )


def _code_of(failures: Sequence[CommandFailed]) -> int:
    """Return the exit code of what failed: theirs, if it is one and the same."""
    codes = {failure.exit_code for failure in failures}
    return codes.pop() if len(codes) == 1 else int(bool(codes))


def _tell_what_to_try(run: Run, home: Home, cluster: LocalCluster) -> None:
    nodes = cluster.running()
    grpc = ",".join(one.ports.address("grpc") for one in nodes)
    kafka = ",".join(one.ports.address("kafka") for one in nodes)
    here = "" if home.shown == DATA_DIR else f" {home.option}"
    tries = (
        f"export TIDELOG_CLIENT__ADDRESS={grpc}",
        "tidelog topic create orders -p 6",
        "tidelog produce orders -k alice <<< '{\"total\": 9.5}'",
        f"kcat -b {kafka} -L",
        f"tidelog local stop{here}",
    )
    for place, one in enumerate(tries):
        run.tell(f"{'' if place else 'Try:':6}{one}")


def _led(seen: Sequence[Seen]) -> "ClusterInfo | None":
    """Return the cluster as a node sees it that knows who leads the quorum; None: none does."""
    found = (one.found for one in seen)
    return next((one for one in found if one is not None and one.controller is not None), None)


def _row(home: Home, seen: Seen) -> Row:
    node, lives = seen.node, seen.state in {"running", "paused"}
    process = node.process.process.pid if lives and node.process is not None else None
    return {
        "node": node.number,
        "pid": process,
        "state": seen.state,
        "exit_code": seen.exit_code,
        "ready": seen.ready,
        "controller": None if seen.found is None else seen.found.controller,
        **{door: node.ports.address(door) for door in ("kafka", "grpc", "http", "peer")},
        "data_dir": str(home.data(node.number)),
        "log": str(home.log(node.number)),
        "detail": seen.detail or None,
    }


@local.command(
    cls=Verb,
    impact="rw",
    columns=CHANGED_COLUMNS,
    examples=(
        "tidelog local stop",
        "tidelog local stop --node 2",
        "tidelog local stop --node 2 --kill",
        "tidelog local stop --dry-run",
    ),
)
@node_option
@data_option
@click.option("--kill", is_flag=True, help="SIGKILL: what a crash is like.")
@changing("which nodes would be stopped")
@click.pass_obj
def stop(run: Run, /, **options: Any) -> int:
    """Stop nodes in order: SIGTERM, and 30 s to end in. Data, ports and settings stay.

    Exit 3 if one has not ended by then.
    """
    home = Home(options["data"])
    nodes = chosen(home.expect(), options["numbers"])
    failures: list[CommandFailed] = []
    if options["dry_run"]:
        run.tell("dry run: nothing is stopped")
        numbers = running(nodes)
    else:
        with home.locked():
            nodes = chosen(home.expect(), options["numbers"])  # as they are by now
            numbers = running(nodes)
            failures = asyncio.run(local_nodes.stop(home, nodes, kill=options["kill"]))
    seen = asyncio.run(local_nodes.look(home, nodes))
    rows = [
        _row(home, one)
        | {"changed": one.node.number in numbers and one.state in {"stopped", "crashed"}}
        for one in seen
    ]
    code = run.items(CHANGED_COLUMNS, rows, failures)
    return _code_of(failures) or code


@local.command(
    cls=Verb,
    columns=COLUMNS,
    examples=("tidelog local status", "tidelog local status -F json --data /tmp/tide"),
)
@data_option
@click.pass_obj
def status(run: Run, /, *, data: str) -> int:
    """Show each node: its process, whether it is ready, and who leads the quorum."""
    home = Home(data)
    cluster = home.expect()
    seen = asyncio.run(local_nodes.look(home, cluster.nodes))
    found = _led(seen)
    if found is not None:
        run.tell(f"cluster {found.cluster_id}: {found.status}")
        for reason in found.reasons:
            run.warn(reason)
    else:
        run.warn("no node leads the metadata quorum, or none answers")
    return run.items(COLUMNS, [_row(home, one) for one in seen])


@local.command(
    cls=Verb,
    columns=LOG_COLUMNS,
    examples=(
        "tidelog local logs",
        "tidelog local logs --node 2 --follow",
        "tidelog local logs --tail 1000 -F jsonl",
    ),
)
@node_option
@data_option
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on until Ctrl-C.")
@click.option(
    "--tail", "lines", type=click.IntRange(min=0), default=LINES, metavar="N",
    help=f"So many last lines of each; default {LINES}.",
)  # fmt: skip
@click.pass_obj
def logs(
    run: Run, /, *, numbers: tuple[int, ...], data: str, follows: bool, lines: int
) -> int | None:
    """Print what nodes have said, each line behind the number of its node."""
    home = Home(data)
    nodes = chosen(home.expect(), numbers)
    if follows and run.format == "json":
        raise Usage("-F json is one document, and --follow never ends", hint="take -F jsonl")
    found: list[Line] = []
    ends = []
    for node in nodes:
        texts, end = tail(home.log(node.number), lines)
        found += [(node.number, text) for text in texts]
        ends.append(Followed(node.number, home.log(node.number), end))
    if run.format == "json":
        return run.items(LOG_COLUMNS, _log_rows(found))
    for line in found:
        _show(run, line)
    if follows:
        run.stdout.flush()
        follow(ends, lambda line: _show(run, line, at_once=True))
    return None


def _log_rows(lines: Iterable[Line]) -> list[Row]:
    return [{"node": number, "line": text} for number, text in lines]


def _show(run: Run, line: Line, *, at_once: bool = False) -> None:
    number, text = line
    run.write(lines_of(_log_rows([line])) if run.is_json else f"{number} | {text}\n")
    if at_once:
        run.stdout.flush()


local.add_command(purge)
