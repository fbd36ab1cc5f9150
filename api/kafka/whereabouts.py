"""Where Kafka clients reach a node: by the listener that they came in by, on whichever it is."""

from typing import TYPE_CHECKING, NamedTuple

from model.ids import NodeId

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort


class Reached(NamedTuple):
    """A broker, as clients of one listener are told of it."""

    node_id: NodeId
    host: str
    port: int
    rack: str | None


def reached(broker: "BrokerPort", node: NodeId, listener: str) -> Reached | None:
    """Return where clients of a listener reach a node now; None: they cannot.

    One that is fenced or was stopped is left out: clients would go on asking it.
    """
    known = broker.image.brokers.get(node)
    if node != broker.node_id and (known is None or not known.standing.is_up):
        return None
    address = address_of(broker, node, listener)
    if address is None:
        return None
    return Reached(node, *address, None if known is None else known.rack)


def address_of(broker: "BrokerPort", node: NodeId, listener: str) -> tuple[str, int] | None:
    """Return host and port of a node's listener; None: that node has none of this name.

    This node knows its own best: it may have found its port only when it began to listen. Of the
    others it knows what they have registered.
    """
    if node == broker.node_id:
        return broker.kafka_endpoint(listener)
    registered = broker.image.brokers.get(node)
    if registered is not None:
        for endpoint in registered.endpoints:
            if endpoint.listener == listener:
                return endpoint.host, endpoint.port
    return None
