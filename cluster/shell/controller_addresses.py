"""Where the other nodes are: what their registrations say, else where a seed was reached.

A node that has no image yet knows its seeds alone; and of the active controller, where that is,
from whoever it asked first. What a registration says comes before both. Nobody is known before
there is a quorum: until then each seed is asked on a link of its own, so that two that claim one
id are two.
"""

from collections.abc import Mapping

from cluster.controller.image import NO_INCARNATION, BrokerImage, MetadataDelta, MetadataImage
from cluster.peer.hello import Hello
from cluster.shell.controller_doors import PEER_LISTENER, ControllerLinks
from cluster.shell.peer_links import LinkEvents
from cluster.shell.peer_network import Address
from model.ids import NodeId


class PeerAddresses(LinkEvents):
    """Keeps `PeerLinks.know` told; its only caller. Loop only."""

    def __init__(self, links: ControllerLinks) -> None:
        """Know nobody. The owner subscribes it to the links, before seeds are dialled."""
        self._links = links
        self._found: dict[NodeId, Address] = {}
        self._registered: dict[NodeId, Address] = {}
        self._told: dict[NodeId, Address] = {}
        self._loaded = False

    @property
    def known(self) -> Mapping[NodeId, Address]:
        """Every node that there is, as far as is known."""
        return self._told

    def found(self, node: NodeId, address: Address) -> None:
        """A node was reached at an address, or is said to be there."""
        self._found[node] = address
        self._tell()

    def applied(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Take what is registered: a listener of `RaftQuorum.subscribe`."""
        if delta.brokers or delta.brokers_removed:
            self.load(image)
        for broker in delta.brokers:
            peer = self._links.peer(broker.node)
            # What is said on a link to the process before it reaches nobody; the node's own signs
            # of life would keep that link for ever. Whoever is down may have a successor there.
            if (
                peer is not None
                and broker.standing.is_up
                and broker.incarnation not in {NO_INCARNATION, peer.incarnation}
            ):
                self._links.end(broker.node)

    def load(self, image: MetadataImage) -> None:
        """Take what an image says, and reach nodes from now on; none that was removed."""
        self._loaded = True
        gone = self._registered.keys() - image.brokers.keys()
        self._registered = {
            broker.node: address
            for broker in image.brokers.values()
            if (address := peer_address(broker)) is not None
        }
        for node in gone:
            self._found.pop(node, None)
        self._tell()

    # cluster.shell.peer_links.LinkEvents

    def seed_up(self, address: Address, peer: Hello) -> None:
        """A seed was reached."""
        self.found(peer.node, address)

    def _tell(self) -> None:
        addresses = self._found | self._registered
        if self._loaded and addresses != self._told:
            self._told = addresses
            self._links.know(addresses)


def peer_address(broker: BrokerImage) -> Address | None:
    """Return where a registered node lets other nodes in; None: it did not say."""
    for one in broker.endpoints:
        if one.listener == PEER_LISTENER:
            return Address(one.host, one.port)
    return None
