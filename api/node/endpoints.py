"""What a node's registration says of its doors: where clients of each kind reach it.

A node registers before its doors open, so that others can send clients here from the first moment.
So what is told must be in the settings.
"""

from api.addresses import is_every_address, split_address
from api.config_file import ConfigRefused
from api.settings import NodeSettings
from cluster.controller.image import Endpoint

KAFKA = "kafka"
GRPC = "grpc"
HTTP = "http"


def endpoints_of(settings: NodeSettings, machine: str) -> tuple[Endpoint, ...]:
    """Return where clients are sent; `machine`: the name of the host.

    A listener on a port that is not known yet is not told of.
    """
    told = {
        KAFKA: settings.kafka_listener.advertise or settings.kafka_listener.bind,
        GRPC: settings.grpc_listener.bind,
        HTTP: settings.http_listener.bind,
    }
    found = []
    for listener, text in told.items():
        if text is None:
            continue
        host, port = split_address(text)
        if port:
            found.append(Endpoint(listener, machine if is_every_address(host) else host, port))
    return tuple(found)


def check_endpoints(settings: NodeSettings) -> None:
    """Refuse a Kafka listener of which other nodes could tell no client.

    Raises:
        ConfigRefused: its port would be known too late.
    """
    kafka = settings.kafka_listener
    if not settings.cluster.seed_list or kafka.bind is None or kafka.advertise is not None:
        return
    if split_address(kafka.bind)[1] == 0:
        raise ConfigRefused(
            [f"listeners.kafka.bind = {kafka.bind}: other nodes tell clients where this one is"],
            "give it a port, or set listeners.kafka.advertise to the HOST:PORT that clients reach",
        )
