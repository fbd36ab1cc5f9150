"""The way to other nodes over TCP."""

from cluster.shell.peer_links import PeerLinks
from cluster.shell.peer_network import Address, SocketNetwork
from model.ports import Spawn


class SystemPeers:
    """`api.node.world.PeerNet` over the machine's sockets."""

    def __init__(self, spawn: Spawn) -> None:
        """Each attempt to reach a node, and each that comes, is a task of `spawn`."""
        self.network = SocketNetwork(spawn)
        self._spawn = spawn

    def listen(self, links: PeerLinks, host: str, port: int) -> Address:
        """Listen; see `PeerNet`."""
        return links.listen(host, port, self._spawn)
