"""The links of a node to all others: to whom, what comes, and who is heard.

    links = PeerLinks(PeerDoors(...))
    links.route(Family.RAFT, quorum.take)       before the first link: who reads which frames
    links.subscribe(events)                     who is told of links as they come and go
    links.listen(host, port, spawn)             the node's own address for other nodes
    links.know({1: ..., 2: ..., 3: ...})        all nodes there are, as often as that changes
    links.say(node, frame)                      one way: may be lost, and is told if it is at once
    await links.ask(node, partial(encode_ask, ask), timeout_ms=500)
    await links.stop(grace_ms=1_000)

This node dials every node that it knows an address of, and says and asks on the link it dialled;
what others ask and say comes on the links that they dialled. So a node is reached and heard on two
links, either of which may end alone: `up` and `lost` tell of the one, `came` and `went` of the
other.

Before a node knows who the others are it has addresses only: `dial_seed` reaches whoever answers
there, who may be this node itself. Once `know` names such a node, the link is kept as its own.

A frame whose body names its speaker is compared with `peer.node` by who reads it: links prove who
speaks, and know nothing of bodies. Bodies lie in a read buffer: valid while the handler runs.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from cluster.peer.forward import CallRefused, encode_refused
from cluster.peer.hello import Hello, LinkRefused
from cluster.peer.table import Family, Frame, Manner
from cluster.shell.peer_answer import Answer
from cluster.shell.peer_asks import Encode, unreachable
from cluster.shell.peer_dialler import Dialler
from cluster.shell.peer_doors import PeerDoors
from cluster.shell.peer_link import Parts, PeerLink
from cluster.shell.peer_listener import PeerListener
from cluster.shell.peer_loss import Loss
from cluster.shell.peer_network import Address
from model.errors import ErrorCode, RequestError
from model.ids import MonotonicMs, NodeId
from model.ports import Spawn

Handler: TypeAlias = Callable[[Hello, Frame, Answer | None], None]
"""Takes a frame that a node says, or asks (then with an `Answer` to be given once, at any time).
MalformedError ends the link."""
NEVER: Final = MonotonicMs(-1)
"""When nothing was ever heard."""


class LinkEvents:
    """What happens to links; every method does nothing, for who needs only some. Loop only.

    A method may call any of `PeerLinks`, and must not raise.
    """

    def up(self, node: NodeId, peer: Hello) -> None:
        """`say` and `ask` reach the node from now on; nothing said before has arrived since."""

    def lost(self, node: NodeId, loss: Loss) -> None:
        """They do not any more. What was said last may or may not have arrived."""

    def refused(self, node: NodeId) -> None:
        """Its host refused an attempt: see `PeerLinks.refused_since`."""

    def barred(self, address: Address, refusal: LinkRefused) -> None:
        """One end refused the other: for the log, since an operator has to see to it."""

    def came(self, peer: Hello, number: int) -> None:
        """A node has dialled this one; `number` names the link and no other, ever."""

    def went(self, peer: Hello, number: int, loss: Loss) -> None:
        """Nothing comes on that link any more."""

    def turned_away(self, host: str, refusal: LinkRefused) -> None:
        """Whoever dialled from there was refused, or refuses: for the log."""

    def seed_up(self, address: Address, peer: Hello) -> None:
        """A seed was reached."""


class PeerLinks:
    """See the module. Constructed once per node; loop only.

    Invariants:
        PEER_ROUTE_ONCE     each family of frames has one reader.
    """

    def __init__(self, doors: PeerDoors) -> None:
        """Know nobody, listen nowhere."""
        self._doors = doors
        self._me = doors.me
        self._listener = PeerListener(doors, self)
        self._events: list[LinkEvents] = []
        self._handlers: dict[Family, Handler] = {}
        self._nodes: dict[NodeId, Dialler] = {}
        self._seeds: dict[Address, Dialler] = {}
        self._heard: dict[NodeId, MonotonicMs] = {}
        self._stopped = False

    # What a node sets up.

    def route(self, family: Family, handler: Handler) -> None:
        """Let `handler` take the frames of a family."""
        assert family not in self._handlers, "PEER_ROUTE_ONCE"
        self._handlers[family] = handler

    def subscribe(self, events: LinkEvents) -> None:
        """Tell of links from now on; in the order of subscription."""
        self._events.append(events)

    def listen(self, host: str, port: int, spawn: Spawn) -> Address:
        """Let other nodes in; return where, with the port that was found for 0.

        Raises:
            OSError: the address cannot be had.
        """
        return self._listener.listen(host, port, spawn)

    @property
    def listener(self) -> PeerListener:
        """What takes connections: the `Gate` of whoever accepts them otherwise."""
        return self._listener

    def know(self, addresses: Mapping[NodeId, Address]) -> None:
        """Reach these nodes and no others; this node's own address is passed over.

        A link that is up stays when its node's address changes.
        """
        if self._stopped:
            return
        for node in [node for node in self._nodes if node not in addresses]:
            self._nodes.pop(node).stop()
        for node, address in addresses.items():
            if node in self._nodes:
                self._nodes[node].move(address)
            elif node != self._me.node:
                self._begin(node, address)
        for seed in list(self._seeds.values()):
            if seed.peer is not None and seed.waits and seed.peer.node not in self._nodes:
                seed.start()

    async def stop(self, *, grace_ms: int) -> None:
        """Leave all links in good order; what has not left after `grace_ms` is given up."""
        self._stopped = True
        self._listener.stop()
        for dialler in [*self._nodes.values(), *self._seeds.values()]:
            dialler.stop()
        clock, links = self._doors.clock, self._doors.open_links
        cancel = clock.call_at(MonotonicMs(clock.monotonic_ms() + grace_ms), links.abort)
        await links.empty()
        cancel()

    # What a node says and asks.

    def say(self, node: NodeId, frame: Parts) -> bool:
        """Send a frame at the end of the tick, behind all that was said to the node before.

        Its parts are not copied: they must not change any more.

        Returns:
            Whether it is on its way; False: it is dropped, no link is up or its buffer is full.
        """
        dialler = self._nodes.get(node)
        link = None if dialler is None else dialler.link
        return link is not None and link.say(frame)

    async def ask(self, node: NodeId, encode: Encode, *, timeout_ms: int) -> Frame:
        """Return the answer of a node; the frame lasts.

        Raises:
            RequestError: the refusal of the node (CALL_REFUSED), or of the way to it:
                NODE_UNREACHABLE and OVERLOADED, *not done*; UPSTREAM_LOST and REQUEST_TIMED_OUT,
                *unknown*.
        """
        dialler = self._nodes.get(node)
        if dialler is None or dialler.link is None:
            raise unreachable(node, "no link is up" if dialler else "its address is not known")
        return await dialler.link.ask(encode, timeout_ms=timeout_ms)

    def end(self, node: NodeId) -> None:
        """End both links to a node at once, and make this node's anew."""
        dialler = self._nodes.get(node)
        if dialler is not None and dialler.link is not None:
            dialler.link.cut()
        self._listener.cut(node)

    # What a node knows of others.

    def peer(self, node: NodeId) -> Hello | None:
        """Return whom the link that is up has reached; None: none is."""
        dialler = self._nodes.get(node)
        return None if dialler is None or dialler.link is None else dialler.peer

    def reached(self, node: NodeId) -> Address | None:
        """Return the address that the link which is up was dialled at; None: none is up."""
        dialler = self._nodes.get(node)
        return None if dialler is None or dialler.link is None else dialler.reached

    def heard_at(self, node: NodeId) -> MonotonicMs:
        """Return when something last came from a node, on any link; NEVER if nothing did."""
        return self._heard.get(node, NEVER)

    @property
    def heard_times(self) -> Mapping[NodeId, MonotonicMs]:
        """When something last came from each node that ever was heard."""
        return self._heard

    def refused_since(self, node: NodeId) -> MonotonicMs | None:
        """Return since when a node's host has refused every attempt: no process listens there.

        None: its last attempt had another end, or it was not refused, or the node has dialled this
        one and that link is up, so that the address is what is wrong.
        """
        dialler = self._nodes.get(node)
        return None if dialler is None or self._listener.has(node) else dialler.refused_since

    # Seeds.

    def dial_seed(self, address: Address) -> None:
        """Reach whoever answers at an address, until `forget_seed`."""
        if address not in self._seeds and not self._stopped:
            self._seeds[address] = Dialler(self._doors, self, address)
            self._seeds[address].start()

    def forget_seed(self, address: Address) -> None:
        """Give a seed up; a link that `know` has kept stays."""
        seed = self._seeds.pop(address, None)
        if seed is not None:
            seed.stop()

    def seed_peer(self, address: Address) -> Hello | None:
        """Return who answered at a seed's address last."""
        seed = self._seeds.get(address)
        return None if seed is None else seed.peer

    async def ask_seed(self, address: Address, encode: Encode, *, timeout_ms: int) -> Frame:
        """Return the answer of whoever is at a seed's address.

        Raises:
            RequestError: as `ask`.
        """
        seed = self._seeds.get(address)
        if seed is not None and seed.link is not None:
            return await seed.link.ask(encode, timeout_ms=timeout_ms)
        if seed is not None and seed.peer is not None and seed.peer.node in self._nodes:
            return await self.ask(seed.peer.node, encode, timeout_ms=timeout_ms)
        raise unreachable(None, f"no link to {address} is up")

    # cluster.shell.peer_dialler.DiallerOwner

    def dialled(self, dialler: Dialler, link: PeerLink) -> None:
        """Tell who was reached; of a node, or of a seed."""
        assert link.link is not None, "PEER_LINK_PROVEN"
        peer = link.link.peer
        if dialler.expected is not None:
            self._tell(lambda events: events.up(peer.node, peer))
            return
        if peer.node in self._nodes:
            self._keep(dialler, self._nodes[peer.node])
        self._tell(lambda events: events.seed_up(dialler.address, peer))

    def lost(self, dialler: Dialler, loss: Loss) -> None:
        """Tell of a node's link; a seed's is of no interest to anybody."""
        node = dialler.expected
        if node is not None:
            self._tell(lambda events: events.lost(node, loss))

    def refused(self, dialler: Dialler) -> None:
        """Tell of a node that is not there."""
        node = dialler.expected
        if node is not None:
            self._tell(lambda events: events.refused(node))

    def barred(self, dialler: Dialler, refusal: LinkRefused) -> None:
        """Tell what an operator has to see to."""
        self._tell(lambda events: events.barred(dialler.address, refusal))

    # cluster.shell.peer_listener.ListenerOwner

    def came(self, peer: Hello, number: int) -> None:
        """Tell who is heard from now on; dial it if that was waited for."""
        if peer.incarnation == self._me.incarnation:
            return
        if peer.node in self._nodes:
            self._nodes[peer.node].nudge()
        self._tell(lambda events: events.came(peer, number))

    def went(self, peer: Hello, number: int, loss: Loss) -> None:
        """Tell who is not."""
        if peer.incarnation != self._me.incarnation:
            self._tell(lambda events: events.went(peer, number, loss))

    def reaches(self, peer: Hello) -> bool:
        """Tell whether the link to a node that is up has reached that process."""
        reached = self.peer(peer.node)
        return reached is not None and reached.incarnation == peer.incarnation

    def turned_away(self, host: str, refusal: LinkRefused) -> None:
        """Tell who was not let in."""
        self._tell(lambda events: events.turned_away(host, refusal))

    def heard(self, node: NodeId, now: MonotonicMs) -> None:
        """Remember when."""
        self._heard[node] = now

    def took(self, link: PeerLink, frame: Frame) -> None:
        """Hand a frame to who reads its family.

        What nobody reads is dropped if it is said, and refused if it is asked: a node may be
        spoken to before all of it stands.
        """
        assert link.link is not None, "PEER_LINK_PROVEN"
        family, manner = frame.row.family, frame.row.manner
        answer = Answer(link, frame.correlation) if manner is Manner.ASKS else None
        handler = self._handlers.get(family)
        if handler is not None:
            handler(link.link.peer, frame, answer)
        elif answer is not None:
            detail = f"node {self._me.node} takes no {family.value} frames, or not yet"
            refused = CallRefused.of(RequestError(ErrorCode.NODE_UNREACHABLE, detail))
            answer(encode_refused(refused, correlation=frame.correlation))

    # Who is reached.

    def _begin(self, node: NodeId, address: Address) -> None:
        """Reach one more node, by the link of a seed if that has reached it."""
        self._nodes[node] = dialler = Dialler(self._doors, self, address, expected=node)
        for seed in self._seeds.values():
            if seed.link is not None and seed.link.node == node:
                seed.hand_over(dialler)
                return
        dialler.start()

    def _keep(self, seed: Dialler, dialler: Dialler) -> None:
        """A seed has reached a node that is known: the newer link stays, as at its other end."""
        dialler.stop()
        seed.hand_over(dialler)

    def _tell(self, what: Callable[[LinkEvents], None]) -> None:
        for events in self._events:
            what(events)
