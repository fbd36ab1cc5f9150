"""Where other nodes are, and which links lead to a process that is no more."""

from types import MappingProxyType

import pytest

from cluster.controller.image import BrokerImage, MetadataDelta, MetadataImage, Standing
from cluster.peer.hello import Hello
from cluster.shell.controller_addresses import PeerAddresses
from model.ids import NodeId, RegistrationEpoch
from tests.peer_network import hello_of

NODE = NodeId(2)


class Links:
    """Knows whom the link has reached, and notes whose links are ended."""

    def __init__(self, incarnation: int) -> None:
        self.reached = hello_of(2, incarnation=incarnation)
        self.ended: list[NodeId] = []

    def peer(self, node: NodeId) -> Hello | None:
        return self.reached if node == NODE else None

    def know(self, addresses: object) -> None:
        """Reach nobody."""

    def end(self, node: NodeId) -> None:
        self.ended.append(node)


def said(process: Hello, standing: Standing) -> BrokerImage:
    return BrokerImage(
        node=NODE,
        directory=process.directory,
        incarnation=process.incarnation,
        registration_epoch=RegistrationEpoch(1),
        endpoints=(),
        rack=None,
        version="",
        standing=standing,
    )


@pytest.mark.parametrize(
    ("reached", "told_of", "ends"),
    [
        (1, (2, Standing.RUNNING), True),  # the next process has registered: nobody is there
        (2, (2, Standing.RUNNING), False),
        (2, (1, Standing.FENCED), False),  # the next process has proven the one before dead
        (2, (1, Standing.STOPPED), False),
    ],
)
def test_a_link_is_ended_that_leads_to_an_earlier_process_and_no_other(
    reached: int, told_of: tuple[int, Standing], ends: bool
) -> None:
    links = Links(reached)
    addresses = PeerAddresses(links)  # type: ignore[arg-type]  # what it uses
    broker = said(hello_of(2, incarnation=told_of[0]), told_of[1])
    image = MetadataImage(brokers=MappingProxyType({NODE: broker}))
    addresses.applied(image, MetadataDelta(brokers=(broker,)))
    assert links.ended == ([NODE] if ends else [])
