"""`tidelog cluster`: who is in the cluster, and how it is."""

from typing import TYPE_CHECKING, Final

import click

from tidelog.cli.cluster_health import health
from tidelog.cli.output import Column, Kind
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Noun, Verb

if TYPE_CHECKING:
    from tidelog.client import Client
    from tidelog.types import ClusterInfo

COLUMNS: Final = (
    Column("node", Kind.INTEGER),
    Column("state", about="running, draining, fenced (not heard any more), offline."),
    Column("controller", Kind.BOOLEAN, about="Whether this node leads the controller quorum."),
    Column("leaders", Kind.INTEGER, about="Partitions that it leads."),
    Column("replicas", Kind.INTEGER, about="Partitions that it has a copy of."),
    Column("kafka", about="Where Kafka clients reach it."),
    Column("grpc", about="Where clients of Tidelog reach it."),
    Column("rack", wide=True),
    Column("version", wide=True),
    Column("cluster_id", wide=True),
    Column("status", wide=True, about="Of the cluster: healthy, degraded, unhealthy."),
)


@click.group(
    cls=Noun,
    examples=("tidelog cluster info", "tidelog cluster health", "tidelog cluster info -F json"),
    coming=("config",),
)
def cluster() -> None:
    """Show the nodes of the cluster, and how it is."""


cluster.add_command(health)


@cluster.command(
    cls=Verb,
    columns=COLUMNS,
    examples=("tidelog cluster info", "tidelog cluster info -F wide"),
)
@click.pass_obj
def info(run: Run) -> int:
    """Show each node, who is the controller, and what is not as it should be."""

    async def work(client: "Client") -> "ClusterInfo":
        return await client.cluster.get()

    found = with_client(run, work)
    run.tell(f"cluster {found.cluster_id}: {found.status}")
    for reason in found.reasons:
        run.warn(reason)
    return run.items(
        COLUMNS,
        [
            {
                "node": broker.id,
                "state": broker.state,
                "controller": broker.id == found.controller,
                "leaders": broker.leaders,
                "replicas": broker.replicas,
                "kafka": broker.endpoints.get("kafka"),
                "grpc": broker.endpoints.get("grpc"),
                "rack": broker.rack or None,
                "version": broker.version,
                "cluster_id": found.cluster_id,
                "status": found.status,
            }
            for broker in found.brokers
        ],
    )
