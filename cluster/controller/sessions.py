"""Which nodes live, as the active controller knows: soft state, kept by it alone, never replicated.

Time is this process's own clock and comes in with each call; nothing here reads a clock. The shell
of the active controller keeps one object for as long as it leads:

- on becoming active, once its own term has committed: `begin`. Everybody who is up gets a whole
  fresh session, since the one before may have heard them until just now. But for an earlier process
  of this very node: it is gone;
- on a committed registration: `registered`;
- on a heartbeat (every 400 ms): `heard`, and does what its answer says;
- on the links that it makes, to the addresses of registrations: `link_lost` when one is reset,
  `link_refused` at each attempt to reach it again that was refused at once (one that got no answer
  proves nothing), `link_up` with what the other end says it is;
- where such a link reached another process at the very address of the registration: `succeeded`;
- whenever `next_due` says, and after each refused attempt: proposes to fence whom `due` names.

A node is dead after `session_ms` of silence, or by proof: its link was reset, and reaching it again
was refused over `refused_ms`, as it is when the process is gone, or another process answers at its
address. A pause or a cut proves nothing. So after a restart of all nodes none waits for sessions of
processes that were there before.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from cluster.controller.image import BrokerImage, Standing
from model.ids import MonotonicMs, NodeId, RegistrationEpoch


class Heard(Enum):
    """What the controller's shell does about a heartbeat."""

    FINE = "fine"
    """Nothing; the answer tells the node that its session is held."""
    UNFENCE = "unfence"
    """It was taken for dead: propose RUNNING for it."""
    REGISTER = "register"
    """It is not known, or not yet in this epoch: it is to register."""
    REPLACED = "replaced"
    """A later process has its id: this one ends, with exit code 12."""
    STOPPED = "stopped"
    """It said its last word before; this one was late."""


@dataclass(slots=True)
class Session:
    """One process that is up."""

    epoch: RegistrationEpoch
    incarnation: bytes
    heard_at: MonotonicMs
    lost: bool = False
    """Its link was reset, and nothing has come of it since."""
    refused_from: MonotonicMs | None = None
    """When reaching it again was refused first since then."""
    dead: bool = False
    """By proof."""
    succeeded: bool = False
    """Another process answers at its address, and is about to register."""


class Sessions:
    """The sessions that this controller holds."""

    def __init__(self, *, session_ms: int, refused_ms: int) -> None:
        """Hold none. `session_ms`: silence that ends one; `refused_ms`: how long is proof."""
        self._session_ms = session_ms
        self._refused_ms = refused_ms
        self._held: dict[NodeId, Session] = {}

    def begin(
        self, brokers: Iterable[BrokerImage], now: MonotonicMs, *, me: NodeId, incarnation: bytes
    ) -> None:
        """Become active: a fresh session for everybody who is up, whatever was known before.

        `me`, `incarnation`: of this process.
        """
        self._held = {
            broker.node: _session(broker, now)
            for broker in brokers
            if broker.standing.is_up and (broker.node != me or broker.incarnation == incarnation)
        }

    def registered(self, broker: BrokerImage, now: MonotonicMs) -> None:
        """Hold the session of a process whose registration is committed, instead of any other."""
        self._held[broker.node] = _session(broker, now)

    def heard(
        self,
        node: NodeId,
        epoch: RegistrationEpoch,
        *,
        broker: BrokerImage | None,
        now: MonotonicMs,
    ) -> Heard:
        """Take a heartbeat of a process that was registered in that epoch.

        `broker`: what the committed metadata say of the node.
        """
        if broker is None or epoch > broker.registration_epoch:
            return Heard.REGISTER
        if epoch < broker.registration_epoch:
            return Heard.REPLACED
        if broker.standing is Standing.STOPPED:
            self.ended(node)
            return Heard.STOPPED
        self._held[node] = _session(broker, now)
        return Heard.FINE if broker.standing.is_up else Heard.UNFENCE

    def link_lost(self, node: NodeId) -> None:
        """The link to a node was reset: by itself it proves nothing."""
        session = self._held.get(node)
        if session is not None:
            session.lost, session.refused_from = True, None

    def link_refused(self, node: NodeId, now: MonotonicMs) -> None:
        """An attempt to reach a node was refused: there is a machine, and nobody listens."""
        session = self._held.get(node)
        if session is None or not session.lost:
            return
        if session.refused_from is None:
            session.refused_from = now
        session.dead |= now - session.refused_from >= self._refused_ms

    def link_up(self, node: NodeId, incarnation: bytes) -> None:
        """A node's address answers again, and says which process it is."""
        session = self._held.get(node)
        if session is not None:
            session.dead = session.lost and incarnation != session.incarnation
            session.lost, session.refused_from = False, None

    def succeeded(self, node: NodeId, incarnation: bytes) -> None:
        """Another process answers where this one had let others in: it does not any more.

        A controller that has just become active knows nothing of a link that was there before. Who
        answers registers at once, which changes more than to fence would: it is only let in.
        """
        session = self._held.get(node)
        if session is not None and session.incarnation == incarnation:
            session.succeeded = True

    def ended(self, node: NodeId) -> None:
        """Hold no session any more: the node was fenced, has stopped, or was removed."""
        self._held.pop(node, None)

    def due(self, now: MonotonicMs) -> tuple[tuple[NodeId, RegistrationEpoch], ...]:
        """Return who is dead, each with the registration that is to be fenced; call `ended` then.

        A node that has asked for nothing but silence is named again until `ended`.
        """
        return tuple(
            (node, session.epoch)
            for node, session in sorted(self._held.items())
            if session.dead or now - session.heard_at >= self._session_ms
        )

    def next_due(self) -> MonotonicMs | None:
        """Return when a session ends next if nothing is heard; None: none is held."""
        if not self._held:
            return None
        earliest = min(session.heard_at for session in self._held.values())
        return MonotonicMs(earliest + self._session_ms)

    def live(self, now: MonotonicMs) -> frozenset[NodeId]:
        """Return whose session is held: what `Circumstances.live` is for a registration."""
        dead = {node for node, _ in self.due(now)}
        return frozenset(
            node for node, one in self._held.items() if node not in dead and not one.succeeded
        )


def _session(broker: BrokerImage, now: MonotonicMs) -> Session:
    return Session(broker.registration_epoch, broker.incarnation, now)
