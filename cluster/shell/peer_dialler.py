"""Reaching one node, again and again: the links that this end dials, one at a time.

After a loss the next attempt is made at once, and after each that fails the wait doubles, from 50
to 400 ms, plus up to a quarter by chance so that nodes do not keep step. A link that lived for a
second makes the first attempt after it an immediate one again; one that did not counts as failed,
or two nodes that do not understand each other would do nothing else.

What is known of a node that is not reached: `refused_since`. A host that refuses says that no
process listens there; a name that leads nowhere and a host that does not answer say nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from cluster.peer.hello import Hello, LinkRefused, Side
from cluster.peer.table import Frame
from cluster.shell.peer_doors import ATTEMPT_MS, PeerDoors
from cluster.shell.peer_link import PeerLink
from cluster.shell.peer_loss import Loss
from cluster.shell.peer_network import Address
from model.ids import MonotonicMs, NodeId

WAIT_MS_MIN: Final = 50
WAIT_MS_MAX: Final = 400
"""Without what chance adds: at most a quarter."""
STEADY_MS: Final = 1_000


class DiallerOwner(Protocol):
    """Whoever wants to reach a node. Calls come on the loop."""

    def dialled(self, dialler: "Dialler", link: PeerLink) -> None:
        """A link is up; `dialler.peer` says to whom."""
        ...

    def lost(self, dialler: "Dialler", loss: Loss) -> None:
        """A link that was up is no more."""
        ...

    def refused(self, dialler: "Dialler") -> None:
        """The host refused an attempt (ECONNREFUSED)."""
        ...

    def barred(self, dialler: "Dialler", refusal: LinkRefused) -> None:
        """One end refused the other, or what it said: before the link was up, or then."""
        ...

    def heard(self, node: NodeId, now: MonotonicMs) -> None:
        """Something came from a node."""
        ...

    def heard_at(self, node: NodeId) -> MonotonicMs:
        """Return when something last came from a node, on any link."""
        ...


class Dialler:
    """See the module. Loop only.

    Invariants:
        PEER_DIALS_ONCE     there is one attempt or one link at a time.
        PEER_DIALLER_HEARS  nothing but answers comes on a link that was dialled.
    """

    def __init__(
        self,
        doors: PeerDoors,
        owner: DiallerOwner,
        address: Address,
        *,
        expected: NodeId | None = None,
    ) -> None:
        """Do nothing until `start`. `expected`: who must answer; None: whoever does."""
        self.address = address
        """Where the next attempt goes."""
        self.expected = expected
        self.peer: Hello | None = None
        """Who was reached last; it stays when the link has ended."""
        self.reached = address
        """Where the newest attempt, or link, goes to: `address` may have changed since."""
        self.refused_since: MonotonicMs | None = None
        """When the first attempt was refused since which none had another end."""
        self._doors = doors
        self._owner = owner
        self._clock = doors.clock
        self._tries = 0
        self._link: PeerLink | None = None
        self._attempt: PeerLink | None = None
        self._up_at = MonotonicMs(0)
        self._stopped = True
        self._cancel_timer: Callable[[], None] | None = None
        self._cancel_dial: Callable[[], None] | None = None

    @property
    def link(self) -> PeerLink | None:
        """The link that is up."""
        return self._link

    @property
    def waits(self) -> bool:
        """It has neither a link nor an attempt under way."""
        return self._link is None and self._attempt is None

    def start(self) -> None:
        """Begin to dial."""
        if self._stopped:
            self._stopped = False
            self._tries = 0
            self._dial()

    def stop(self) -> None:
        """Dial no more, and leave the link in good order."""
        self._stopped = True
        self.refused_since = None
        self._unset_timer()
        self._give_up()
        if self._link is not None:
            self._link.leave()

    def move(self, address: Address) -> None:
        """Dial another address from now on. A link that is up stays."""
        if address == self.address:
            return
        self.address = address
        self.refused_since = None
        if not self._stopped and self._link is None:
            self._give_up()
            self._dial()

    def nudge(self) -> None:
        """There is a sign of the node: do not wait any longer."""
        if not self._stopped and self.waits:
            self._dial()

    def hand_over(self, other: "Dialler") -> None:
        """Give the link that is up to another dialler of the same node, and stop."""
        link, self._link = self._link, None
        assert link is not None and other.waits, "PEER_DIALS_ONCE"
        self.stop()
        other.take(link, self.reached)

    def take(self, link: PeerLink, reached: Address) -> None:
        """Go on with a link that another dialler has dialled."""
        self._stopped = False
        self.reached = reached
        link.belongs_to(self)
        self._attempt = link
        self.proven(link)

    # cluster.shell.peer_link_owner.LinkOwner

    def opened(self, link: PeerLink) -> None:
        """The host took the connection: somebody listens."""
        if link is not self._attempt:
            link.abort()
            return
        self._unset_timer()
        self.refused_since = None

    def proven(self, link: PeerLink) -> None:
        """The link is up."""
        assert link.link is not None and link is self._attempt, "PEER_DIALS_ONCE"
        self._attempt = None
        self._link = link
        self._up_at = self._clock.monotonic_ms()
        self.peer = link.link.peer
        self._owner.dialled(self, link)

    def heard(self, node: NodeId, now: MonotonicMs) -> None:
        """Pass it on."""
        self._owner.heard(node, now)

    def heard_at(self, node: NodeId) -> MonotonicMs:
        """Pass it on."""
        return self._owner.heard_at(node)

    def took(self, link: PeerLink, frame: Frame) -> None:
        """Links refuse this by themselves."""
        raise AssertionError("PEER_DIALLER_HEARS")

    def ended(self, link: PeerLink) -> None:
        """Dial again, unless this was to be the end."""
        if link.refusal is not None and (link is self._attempt or link is self._link):
            self._owner.barred(self, link.refusal)
        if link is self._attempt:
            self._attempt = None
            self._dial_later()
        elif link is self._link and link.loss is not None:
            self._link = None
            if self._clock.monotonic_ms() - self._up_at >= STEADY_MS:
                self._tries = 0
            self._dial_later()
            self._owner.lost(self, link.loss)

    # Attempts.

    def _dial(self) -> None:
        assert self.waits, "PEER_DIALS_ONCE"
        self._unset_timer()
        self._tries += 1
        link = PeerLink(self._doors, self, side=Side.DIALS, expected=self.expected)
        self._attempt, self.reached = link, self.address
        self._set_timer(ATTEMPT_MS, partial(self._failed, link, TimeoutError()))
        failed = partial(self._failed, link)
        self._cancel_dial = self._doors.network.dial(self.address, link, failed)

    def _failed(self, link: PeerLink, error: OSError) -> None:
        """There is no connection."""
        if link is not self._attempt:
            return
        self._give_up()
        if not isinstance(error, ConnectionRefusedError):
            self.refused_since = None
        elif self.refused_since is None:
            self.refused_since = self._clock.monotonic_ms()
        self._dial_later()
        if self.refused_since is not None:
            self._owner.refused(self)

    def _give_up(self) -> None:
        """End the attempt that is under way, however far it has come."""
        attempt, self._attempt = self._attempt, None
        if self._cancel_dial is not None:
            self._cancel_dial()
            self._cancel_dial = None
        if attempt is not None:
            attempt.abort()

    def _dial_later(self) -> None:
        if self._stopped or not self.waits:
            return
        wait_ms = 0
        if self._tries:
            # Capped before it is doubled: tries are not bounded.
            wait_ms = min(WAIT_MS_MIN << min(self._tries - 1, 8), WAIT_MS_MAX)
            wait_ms += self._doors.rand.randrange(wait_ms // 4 + 1)
        self._set_timer(wait_ms, self._dial)

    def _set_timer(self, after_ms: int, call: Callable[[], None]) -> None:
        self._unset_timer()
        when = MonotonicMs(self._clock.monotonic_ms() + after_ms)
        self._cancel_timer = self._clock.call_at(when, call)

    def _unset_timer(self) -> None:
        if self._cancel_timer is not None:
            self._cancel_timer()
            self._cancel_timer = None
