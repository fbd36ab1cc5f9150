"""Links that other nodes dial: let in, proven, replaced by newer ones.

Of one node with one log directory there is one link at a time. The newer one replaces the older:
the older's other end is gone, or gave it up, and what may still lie in its buffers is not to be
heard after what the newer one says. Two processes that claim one id are both heard where two they
are: with two directories, or with two copies of one while this node still reaches the first. Which
of them is let into the cluster is decided when they register.

Strangers are bounded: so many connections at once that are not proven, so long, so many bytes. The
address is the nodes' own, so nobody who comes there for anything else can use up what clients have.
"""

from collections import Counter
from itertools import count
from typing import NamedTuple, Protocol

from cluster.peer.hello import Hello, LinkRefused, Side
from cluster.peer.table import Frame
from cluster.shell.accept import Acceptor, bind
from cluster.shell.peer_doors import UNPROVEN_MAX, PeerDoors
from cluster.shell.peer_link import PeerLink
from cluster.shell.peer_loss import Loss
from cluster.shell.peer_network import Address
from model.ids import MonotonicMs, NodeId
from model.ports import Spawn


class ListenerOwner(Protocol):
    """Whoever is to hear what other nodes say. Calls come on the loop."""

    def came(self, peer: Hello, number: int) -> None:
        """A node has dialled and is proven; `number` names this link and no other, ever."""
        ...

    def went(self, peer: Hello, number: int, loss: Loss) -> None:
        """That link is no more. It comes before the `came` of the link that replaces it."""
        ...

    def reaches(self, peer: Hello) -> bool:
        """Tell whether the link that this node has dialled to a node has reached that process."""
        ...

    def turned_away(self, host: str, refusal: LinkRefused) -> None:
        """Somebody who dialled was refused, or refuses."""
        ...

    def took(self, link: PeerLink, frame: Frame) -> None:
        """A node says or asks something; MalformedError ends the link."""
        ...

    def heard(self, node: NodeId, now: MonotonicMs) -> None:
        """Something came from a node."""
        ...

    def heard_at(self, node: NodeId) -> MonotonicMs:
        """Return when something last came from a node, on any link."""
        ...


class _Whose(NamedTuple):
    node: NodeId
    directory: bytes
    incarnation: bytes


class PeerListener:
    """See the module. Loop only."""

    def __init__(self, doors: PeerDoors, owner: ListenerOwner) -> None:
        """Listen nowhere yet."""
        self._doors = doors
        self._owner = owner
        self._acceptor: Acceptor | None = None
        self._numbers = count(1)
        self._unproven: dict[PeerLink, None] = {}
        self._proven: dict[_Whose, tuple[PeerLink, int]] = {}
        self._of_node: Counter[NodeId] = Counter()

    def listen(self, host: str, port: int, spawn: Spawn) -> Address:
        """Let nodes in from now on; return where, with the port that was found for 0.

        Raises:
            OSError: the address cannot be had.
        """
        self._acceptor = Acceptor(bind(host, port), self, spawn)
        return Address(*self._acceptor.address)

    def stop(self) -> None:
        """Let nobody in any more; leave all links in good order."""
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        for link in [*self._unproven, *(link for link, _ in self._proven.values())]:
            link.leave()

    def cut(self, node: NodeId) -> None:
        """End what a node has dialled, at once: it dials again."""
        for link in [link for whose, (link, _) in self._proven.items() if whose.node == node]:
            link.cut()

    def has(self, node: NodeId) -> bool:
        """Tell whether a link that this node has dialled is up."""
        return self._of_node[node] > 0

    # cluster.shell.accept.Gate

    def admit(self, host: str, descriptor: int) -> PeerLink | None:
        """Let a connection in, unless too many strangers are here."""
        del host, descriptor  # links between nodes are what the last descriptors are kept for
        if len(self._unproven) >= UNPROVEN_MAX:
            return None
        link = PeerLink(self._doors, self, side=Side.LISTENS)
        self._unproven[link] = None
        return link

    def exhausted(self) -> None:
        """No descriptor was left: whoever dials comes again."""

    # cluster.shell.peer_link_owner.LinkOwner

    def opened(self, link: PeerLink) -> None:
        """Wait for its hello."""

    def proven(self, link: PeerLink) -> None:
        """Replace an older link of the same node."""
        assert link.link is not None, "PEER_LINK_PROVEN"
        peer = link.link.peer
        self._unproven.pop(link, None)
        whose = _whose(peer)
        for older, (other, _) in list(self._proven.items()):
            if older[:2] == whose[:2] and not self._is_another(other, whose):
                other.cut(Loss.REPLACED)
        number = next(self._numbers)
        self._proven[whose] = (link, number)
        self._of_node[peer.node] += 1
        self._owner.came(peer, number)

    def heard(self, node: NodeId, now: MonotonicMs) -> None:
        """Pass it on."""
        self._owner.heard(node, now)

    def heard_at(self, node: NodeId) -> MonotonicMs:
        """Pass it on."""
        return self._owner.heard_at(node)

    def took(self, link: PeerLink, frame: Frame) -> None:
        """Pass it on."""
        self._owner.took(link, frame)

    def ended(self, link: PeerLink) -> None:
        """Forget it."""
        self._unproven.pop(link, None)
        if link.refusal is not None:
            self._owner.turned_away(link.host, link.refusal)
        if link.link is None or link.loss is None:
            return
        peer = link.link.peer
        _, number = self._proven.pop(_whose(peer))
        self._of_node[peer.node] -= 1
        if not self._of_node[peer.node]:
            del self._of_node[peer.node]
        self._owner.went(peer, number, link.loss)

    def _is_another(self, older: PeerLink, whose: _Whose) -> bool:
        """Tell whether an older link is that of a process which lives beside the newer one's."""
        assert older.link is not None, "PEER_LINK_PROVEN"
        peer = older.link.peer
        return peer.incarnation != whose.incarnation and self._owner.reaches(peer)


def _whose(peer: Hello) -> _Whose:
    return _Whose(peer.node, peer.directory, peer.incarnation)
