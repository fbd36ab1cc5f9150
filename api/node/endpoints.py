"""What a node's registration says of its doors: where clients of each kind reach it.

A node may register before its doors open: others send clients here from then on.
So what is told must be in the settings. There may be two listeners for Kafka clients: whoever came
in by one is told the addresses of that one, of every node.
"""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from api.addresses import is_address, is_loopback, reached_by, split_address
from api.config_file import ConfigRefused
from api.settings import NodeSettings
from cluster.controller.image import Endpoint

KAFKA: Final = "kafka"
EXTERNAL: Final = "external"
GRPC: Final = "grpc"
HTTP: Final = "http"


class Doubt(NamedTuple):
    """An address that others are told, and by which they may reach nobody."""

    setting: str
    address: str
    why: str


def endpoints_of(settings: NodeSettings, machine: str) -> tuple[Endpoint, ...]:
    """Return where clients are sent; `machine`: the name of the host.

    A listener on a port that is not known yet is not told of.
    """
    kafka, external = settings.kafka_listener, settings.external_listener
    told = {
        KAFKA: kafka.bind and (kafka.advertise or kafka.bind),
        EXTERNAL: external.bind and (external.advertise or external.bind),
        GRPC: settings.grpc_listener.bind,
        HTTP: settings.http_listener.bind,
    }
    found = []
    for listener, text in told.items():
        if text is None:
            continue
        host, port = split_address(text)
        if port:
            found.append(Endpoint(listener, reached_by(host, machine), port))
    return tuple(found)


def check_endpoints(settings: NodeSettings) -> None:
    """Refuse a Kafka listener of which other nodes could tell no client.

    Raises:
        ConfigRefused: its port would be known too late.
    """
    if not settings.cluster.seed_list:
        return
    for name, listener in (
        (KAFKA, settings.kafka_listener),
        (EXTERNAL, settings.external_listener),
    ):
        if listener.bind is None or listener.advertise is not None:
            continue
        if split_address(listener.bind)[1] == 0:
            raise ConfigRefused(
                [f"listeners.{name}.bind = {listener.bind}: other nodes tell clients of this one"],
                f"give it a port, or set listeners.{name}.advertise to the HOST:PORT that clients "
                "reach",
            )


async def doubtful(
    settings: NodeSettings, machine: str, looked_up: Callable[[str], Awaitable[str | None]]
) -> list[Doubt]:
    """Return addresses by which other nodes, or the Kafka clients beside them, may reach nobody.

    The external listener is not looked at: its addresses are for elsewhere. `looked_up` returns
    why a name leads nowhere, None if it leads somewhere.
    """
    seeds = settings.cluster.seed_list
    told = {"listeners.kafka": _kafka_told(settings, machine)}
    if seeds:
        peer = settings.peer_listener
        told["listeners.peer"] = _told(peer.advertise or peer.bind, machine)
    others_elsewhere = any(not is_loopback(split_address(seed)[0]) for seed in seeds)
    doubts = []
    for setting, place in told.items():
        if place is None:
            continue
        host, port = place
        why = None
        if is_loopback(host):
            if others_elsewhere:
                why = "only this machine reaches it, and the cluster has nodes on others"
        elif not is_address(host):
            why = await looked_up(host)
        if why is not None:
            doubts.append(Doubt(f"{setting}.advertise", f"{host}:{port}", why))
    return doubts


def _kafka_told(settings: NodeSettings, machine: str) -> tuple[str, int] | None:
    kafka = settings.kafka_listener
    return None if kafka.bind is None else _told(kafka.advertise or kafka.bind, machine)


def _told(text: str, machine: str) -> tuple[str, int]:
    host, port = split_address(text)
    return reached_by(host, machine), port
