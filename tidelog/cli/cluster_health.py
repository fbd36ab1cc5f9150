"""`tidelog cluster health`: how the cluster is, and a line for each thing that is wrong."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

import click

from tidelog.cli.failure import CommandFailed, Exit, Usage
from tidelog.cli.output import Column, Kind, printable
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tidelog.client import Client
    from tidelog.types import ClusterInfo, TopicPartition

COLUMNS: Final = (
    Column(
        "status", about="healthy, degraded (less in reserve), unhealthy (something is refused)."
    ),
    Column("cluster_id"),
    Column("controller", Kind.INTEGER, about="null: no node leads the controller quorum."),
    Column("nodes", Kind.INTEGER),
    Column("nodes_running", Kind.INTEGER),
    Column("reasons", Kind.LIST, about="Sentences for people."),
    Column("leaderless", Kind.LIST, about="TOPIC/P of partitions that have no leader."),
    Column("under_min_isr", Kind.LIST, about="Of those that refuse acks=all."),
    Column("under_replicated", Kind.LIST, about="Of those that lack an in-sync replica."),
)
EXITS: Final = {"healthy": Exit.DONE, "degraded": Exit.FAILED, "unhealthy": Exit.NOT_NOW}
FOREVER: Final = timedelta(days=365)


@click.command(
    cls=Verb,
    columns=COLUMNS,
    examples=(
        "tidelog cluster health",
        "tidelog cluster health --watch",
        "tidelog cluster health --exit-when-healthy --within 60",
        "tidelog cluster health -F json",
    ),
)
@click.option("--watch", is_flag=True, help="Go on, and tell each change.")
@click.option("--exit-when-healthy", is_flag=True, help="Wait until it is healthy; then exit 0.")
@click.option(
    "--within",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="With the two above: so long and no longer.",
)
@click.pass_obj
def health(run: Run, /, *, watch: bool, exit_when_healthy: bool, within: float | None) -> int:
    """Tell how the cluster is, and what would help.

    Exit 0: healthy. 1: degraded, everything works with less in reserve. 3: unhealthy, something
    cannot be read or written, or no node answers.
    """
    follows = watch or exit_when_healthy
    if within is not None and not follows:
        raise Usage("--within says how long to wait", hint="with --watch or --exit-when-healthy")
    if watch and run.format == "json":
        raise Usage("--watch tells one thing after the other", hint="pass -F jsonl")
    if not follows:
        seen = with_client(run, _now)
        _show(run, seen)
        return _exit(seen)
    following = _Following(run, watch=watch, until_healthy=exit_when_healthy, within=within)
    with_client(run, following, patience=following.patience, reach=following.patience)
    return following.ended()


class _Following:
    """Looks at the cluster until it is healthy, or for so long."""

    def __init__(self, run: Run, *, watch: bool, until_healthy: bool, within: float | None) -> None:
        self._run, self._watch, self._until_healthy = run, watch, until_healthy
        self._within = within
        self._last: ClusterInfo | None = None

    @property
    def patience(self) -> timedelta:
        """For as long a node is looked for."""
        return FOREVER if self._within is None else timedelta(seconds=max(self._within, 0.001))

    async def __call__(self, client: "Client") -> None:
        """Follow."""
        try:
            async with asyncio.timeout(self._within):
                await self._follow(client)
        except TimeoutError:
            if self._last is not None:
                self._run.tell(f"waited for {self._within:g} s")

    def ended(self) -> int:
        """Put out what was seen last, unless it was told; return the exit code.

        Raises:
            CommandFailed: nothing was seen in time.
        """
        if self._last is None:
            raise CommandFailed(
                f"no node told how the cluster is within {self._within:g} s",
                hint="name other nodes: -X client.address=HOST:PORT,HOST:PORT; or wait longer: "
                "--within",
                reason="NO_QUORUM",
                exit_code=Exit.NOT_NOW,
            )
        if not self._watch:
            _show(self._run, self._last)
        return _exit(self._last)

    async def _follow(self, client: "Client") -> None:
        watch = cast("AsyncGenerator[ClusterInfo, None]", client.cluster.watch())
        async with aclosing(watch) as changes:
            async for seen in changes:
                self._last = seen
                if self._watch:
                    now_ms = client.connection.clock.now_ms()
                    _show(self._run, seen, at=datetime.fromtimestamp(now_ms / 1000, UTC))
                    self._run.stdout.flush()
                if self._until_healthy and seen.status == "healthy":
                    return


async def _now(client: "Client") -> "ClusterInfo":
    return await client.cluster.get()


def _exit(seen: "ClusterInfo") -> int:
    return EXITS.get(seen.status, Exit.NOT_NOW)


def _show(run: Run, seen: "ClusterInfo", *, at: datetime | None = None) -> None:
    """Put out one state: a line, and one for each reason; with the time where states follow."""
    if run.is_json:
        run.items(COLUMNS, [_row(seen)])
        return
    style = run.style(run.stdout)
    paint = {"healthy": style.green, "degraded": style.yellow}.get(seen.status, style.red)
    running = sum(one.state == "running" for one in seen.brokers)
    controller = "none" if seen.controller is None else f"node {seen.controller}"
    when = "" if at is None else f"{at:%H:%M:%S}Z "
    run.write(
        f"{when}{paint(seen.status)}: cluster {printable(seen.cluster_id)}, {running} of "
        f"{len(seen.brokers)} nodes running, controller {controller}\n"
    )
    run.write("".join(f"- {printable(reason)}\n" for reason in seen.reasons))


def _row(seen: "ClusterInfo") -> dict[str, object]:
    return {
        "status": seen.status,
        "cluster_id": seen.cluster_id,
        "controller": seen.controller,
        "nodes": len(seen.brokers),
        "nodes_running": sum(one.state == "running" for one in seen.brokers),
        "reasons": list(seen.reasons),
        "leaderless": _names(seen.leaderless),
        "under_min_isr": _names(seen.under_min_isr),
        "under_replicated": _names(seen.under_replicated),
    }


def _names(partitions: "tuple[TopicPartition, ...]") -> list[str]:
    return [f"{one.topic}/{one.partition}" for one in partitions]
