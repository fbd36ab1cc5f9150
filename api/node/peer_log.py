"""What the node's log says of links to other nodes."""

from api.broker.damage import Note
from cluster.peer.hello import Hello, LinkRefused
from cluster.shell.peer_links import LinkEvents
from cluster.shell.peer_loss import Loss
from cluster.shell.peer_network import Address
from model.ids import NodeId


class PeerLog(LinkEvents):
    """Notes links as they come and go. A refusal is noted once until there is another."""

    def __init__(self, note: Note) -> None:
        """Write to `note`."""
        self._note = note
        self._barred: dict[str, str] = {}

    def up(self, node: NodeId, peer: Hello) -> None:
        """A node is reached."""
        del peer
        self._note("peer_up", peer=node)

    def lost(self, node: NodeId, loss: Loss) -> None:
        """It is not any more."""
        self._note("peer_lost", peer=node, why=loss.value)

    def barred(self, address: Address, refusal: LinkRefused) -> None:
        """One end refuses the other, and will the next time."""
        self._refused(str(address), refusal)

    def turned_away(self, host: str, refusal: LinkRefused) -> None:
        """Somebody who dialled was refused, or refuses."""
        self._refused(host, refusal)

    def _refused(self, where: str, refusal: LinkRefused) -> None:
        why = str(refusal)
        if self._barred.get(where) != why:
            self._barred[where] = why
            by = "there" if refusal.by_peer else "here"
            self._note("peer_refused", address=where, why=why, refused=by)
