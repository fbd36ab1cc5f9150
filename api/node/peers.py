"""The links of one node to the others: who it is to them, where it lets them in, who reads what."""

from typing import Final

from api.addresses import split_address
from api.door import Address as DoorAddress
from api.door import DoorTaken
from api.node.identity import told_address
from api.node.parts import Parts
from api.node.peer_log import PeerLog
from api.node.world import PeerNet
from cluster.controller.feature_level import SUPPORTED
from cluster.peer.hello import NONCE_BYTES, Hello
from cluster.shell.controller_addresses import PeerAddresses
from cluster.shell.controller_deaths import Deaths
from cluster.shell.peer_doors import PeerDoors
from cluster.shell.peer_links import PeerLinks
from cluster.shell.peer_network import Address

PEER: Final = "peer"
"""What the listener for other nodes is called where it cannot be had."""
INCARNATION_BYTES: Final = 16
GRACE_MS: Final = 1_000
"""For the last words on links."""


class Peers:
    """See the module. Loop only."""

    def __init__(self, parts: Parts, net: PeerNet) -> None:
        """Reach nobody, let nobody in."""
        world, identity = parts.world, parts.opened.identity
        self._settings, self._net = parts.settings, net
        self._machine, self._note = world.machine, world.note
        self.me: Final = Hello(
            identity.node,
            identity.directory,
            world.rand.randbytes(INCARNATION_BYTES),
            bytes(NONCE_BYTES),
            identity.cluster_id,
            *SUPPORTED,
        )
        """What this process says of itself."""
        self._doors = PeerDoors(
            me=self.me,
            secret=world.secret,
            clock=world.clock,
            rand=world.rand,
            tick=parts.tick,
            network=net.network,
        )
        self.links: Final = PeerLinks(self._doors)
        self.addresses: Final = PeerAddresses(self.links)
        self.deaths: Final = Deaths(
            world.clock, self.links, refused_ms=parts.settings.cluster.broker_refused_ms
        )
        for events in (PeerLog(world.note), self.addresses, self.deaths):
            self.links.subscribe(events)

    def listen(self) -> Address:
        """Let others in; return where they are told that this node is.

        Raises:
            DoorTaken: the address cannot be had.
        """
        wanted = DoorAddress(*split_address(self._settings.peer_listener.bind))
        try:
            bound = self._net.listen(self.links, *wanted)
        except OSError as error:
            raise DoorTaken(PEER, wanted, error.strerror or str(error)) from error
        told = Address(*told_address(self._settings, bound, self._machine))
        self._note("peer_listening", address=str(bound), told=str(told))
        return told

    async def stop(self) -> None:
        """Leave all links in good order."""
        await self.links.stop(grace_ms=GRACE_MS)

    def abandon(self) -> None:
        """Let nobody in any more, and be silent at once."""
        self.links.listener.stop()
        self._doors.open_links.abort()
