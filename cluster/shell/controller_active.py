"""The controller's own part on every node, at work on the one that leads the quorum: sessions.

What it does with them is told by `cluster.controller.sessions`; it proposes to fence the dead and
to take back who was taken for dead, and has the quorum know of every registered node:

- a cluster that has no id yet is formed with this node's own;
- leaderships go back to nodes that have returned (`controller_balance`);
- a node whose date is not the majority's leads nothing (`cluster.controller.clocks`);
- a node under a new directory takes the place of the member that it was, as a learner, and gets the
  vote that its old directory had; one that is new learns, and votes while fewer than
  `VOTERS_WANTED` do, unless an operator has taken its vote.

A look that comes late says that this process itself stood still: what had come meanwhile is not
read yet, so everybody gets a whole fresh session.
"""

from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from typing import Final

from cluster.controller.brokers import FormCluster
from cluster.controller.clocks import Clocks
from cluster.controller.image import (
    NO_INCARNATION,
    BrokerImage,
    MetadataDelta,
    MetadataImage,
    Standing,
)
from cluster.controller.request_frames import UNSAID_DATE, BrokerHeartbeat
from cluster.controller.sessions import Heard, Sessions
from cluster.controller.standing import SetStanding
from cluster.controller.votes import gets_no_vote
from cluster.raft.voters import Voter
from cluster.shell.controller_addresses import peer_address
from cluster.shell.controller_balance import Balance
from cluster.shell.controller_deaths import DeathEvents, Deaths
from cluster.shell.controller_doors import ControllerDoors, pause
from cluster.shell.raft_member import QuorumLeader
from model.errors import ErrorCode, RequestError
from model.ids import MonotonicMs, NodeId, RegistrationEpoch

VOTERS_WANTED: Final = 3
"""One of them may be gone, and nothing stands still."""
AGAIN_MS: Final = 100
"""Until what the quorum did not take is proposed again."""
LATE_MS: Final = 300
"""A look later than this: this process stood still."""


class ActiveController(DeathEvents):
    """See the module. Loop only."""

    def __init__(self, doors: ControllerDoors, deaths: Deaths) -> None:
        """Hold no session until this node leads."""
        self._doors = doors
        self._quorum = doors.quorum
        self._deaths = deaths
        self._sessions = Sessions(
            session_ms=doors.settings.broker_session_ms,
            refused_ms=doors.settings.broker_refused_ms,
        )
        self._balance = Balance(doors)
        self._clocks = Clocks()
        self._active = False
        self._under_way: set[object] = set()
        """What is proposed by tasks, so that none does what another one does."""
        self._look_at = MonotonicMs(0)
        self._cancel_look: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin as soon as this node leads."""
        self._deaths.subscribe(self)
        self._quorum.judge_by(self._live)
        self._quorum.subscribe(self._published)
        self._quorum.subscribe_leadership(self._leader_changed)
        if self._quorum.leads:
            self._begin()

    def stop(self) -> None:
        """Look no more."""
        self._end()

    @property
    def active(self) -> bool:
        """Whether this node is the active controller."""
        return self._active

    def heard(self, beat: BrokerHeartbeat) -> Heard:
        """Take a heartbeat.

        Raises:
            RequestError: NOT_LEADER, with `leader` if one is known; NO_QUORUM.
        """
        if not self._active:
            raise self.elsewhere()
        broker = self._quorum.image.brokers.get(beat.node)
        heard = self._sessions.heard(
            beat.node, beat.registration_epoch, broker=broker, now=self._now()
        )
        if heard in {Heard.FINE, Heard.UNFENCE} and broker is not None:
            self._judge(beat, broker)
        self._look_later()
        return heard

    def _judge(self, beat: BrokerHeartbeat, broker: BrokerImage) -> None:
        """Take back who was taken for dead; let lead, or not, by what its clock says."""
        clocks, now = self._clocks, self._now()
        voters = [one.node for one in self._quorum.configuration.voters]
        if beat.wall != UNSAID_DATE:
            clocks.told(beat.node, beat.wall, beat.append_time, now=now)
        off_ms = clocks.off_ms(beat.node, voters)
        doubted = clocks.in_doubt(beat.node, voters)
        wanted = Standing.BARRED if doubted else Standing.RUNNING
        one, was = ((beat.node, beat.registration_epoch),), broker.standing
        if was is Standing.FENCED:
            self._do(("back", one), self._set_standing(one, wanted))
        elif off_ms is None or was is wanted or was not in {Standing.RUNNING, Standing.BARRED}:
            return
        elif ("clock", one) not in self._under_way:
            event = "broker_clock_in_doubt" if doubted else "broker_clock_trusted"
            self._doors.note(event, broker=beat.node, ahead_ms=off_ms)
            self._do(("clock", one), self._set_standing(one, wanted))

    def elsewhere(self) -> RequestError:
        """Return where to ask instead, and under which address if it is known: *not done*."""
        leader, me = self._quorum.leader, self._doors.me.node
        if leader is None or leader == me:
            detail = f"node {me} knows no active controller"
            return RequestError(ErrorCode.NO_QUORUM, detail)
        detail = f"node {leader} is the active controller, node {me} is not"
        return RequestError(ErrorCode.NOT_LEADER, detail, leader=str(leader))

    # cluster.shell.controller_deaths.DeathEvents

    def link_lost(self, node: NodeId) -> None:
        """A link was reset."""
        self._sessions.link_lost(node)

    def link_refused(self, node: NodeId, now: MonotonicMs) -> None:
        """Nobody listens at a node's address."""
        self._sessions.link_refused(node, now)
        self._look()

    def link_up(self, node: NodeId, incarnation: bytes) -> None:
        """Some process answers there."""
        self._sessions.link_up(node, incarnation)
        self._look_for_successor(node)
        self._look()

    def _look_for_successor(self, node: NodeId) -> None:
        """See whether another process is reached where the registered one let others in."""
        broker, links = self._quorum.image.brokers.get(node), self._doors.links
        peer = links.peer(node)
        if broker is None or peer is None or broker.incarnation == NO_INCARNATION:
            return
        if peer.incarnation != broker.incarnation and links.reached(node) == peer_address(broker):
            self._sessions.succeeded(node, broker.incarnation)

    # Leadership and metadata.

    def _leader_changed(self, leader: QuorumLeader) -> None:
        if leader.leads and not self._active:
            self._begin()
        elif not leader.leads and self._active:
            self._end()
            self._doors.note("controller_inactive", term=leader.term)

    def _begin(self) -> None:
        self._active = True
        image, me = self._quorum.image, self._doors.me
        self._doors.note("controller_active", term=self._quorum.term)
        self._clocks.forget()
        self._fresh_sessions()
        if not image.cluster_id:
            self._do("form", self._form(FormCluster(cluster_id=me.cluster_id)))
        self._see_to_members()
        self._balance.begin()
        self._look()

    def _end(self) -> None:
        self._active = False
        self._unset_look()
        self._balance.end()

    def _fresh_sessions(self) -> None:
        """Begin with everybody anew, but for those whose death is proven."""
        me, brokers = self._doors.me, self._quorum.image.brokers.values()
        self._look_at = self._now()
        self._sessions.begin(brokers, self._look_at, me=me.node, incarnation=me.incarnation)
        for broker in brokers:
            self._deaths.say_again(broker.node, broker.incarnation, self)
            self._look_for_successor(broker.node)

    def _notice_standstill(self) -> None:
        """See whether the look that is due is late: then nothing was read meanwhile."""
        if self._cancel_look is not None and self._now() - self._look_at > LATE_MS:
            self._fresh_sessions()

    def _published(self, image: MetadataImage, delta: MetadataDelta) -> None:
        if not self._active:
            return
        self._balance.published(image, delta)
        for broker in delta.brokers:
            if broker.standing.is_up:
                self._sessions.registered(broker, self._now())
            else:
                self._sessions.ended(broker.node)
                self._clocks.ended(broker.node)
        for node in delta.brokers_removed:
            self._sessions.ended(node)
            self._clocks.ended(node)
        if delta.brokers:
            self._see_to_members()
            self._look_later()

    def _live(self) -> AbstractSet[NodeId]:
        if not self._active:
            return frozenset()
        self._notice_standstill()
        return self._sessions.live(self._now())

    # Deaths.

    def _look(self) -> None:
        """Propose to fence who is dead by now."""
        if not self._active:
            return
        self._notice_standstill()
        due = tuple(one for one in self._sessions.due(self._now()) if one not in self._under_way)
        if due:
            self._under_way.update(due)
            for node, epoch in due:
                self._doors.note("broker_fenced", broker=node, registration_epoch=epoch)
            self._doors.spawn.start(self._fence(due), "fence brokers")
        self._look_later()

    async def _fence(self, due: tuple[tuple[NodeId, RegistrationEpoch], ...]) -> None:
        try:
            await self._set_standing(due, Standing.FENCED)
        finally:
            self._under_way.difference_update(due)
        for node, _ in due:  # of one that was fenced already no change is told
            broker = self._quorum.image.brokers.get(node)
            if broker is None or not broker.standing.is_up:
                self._sessions.ended(node)

    def _look_later(self) -> None:
        due = self._sessions.next_due()
        if not self._active or due is None:
            return
        now = self._now()
        # No later than a heartbeat's time, so that standing still is noticed.
        when = min(max(due, now + AGAIN_MS), now + self._doors.settings.broker_heartbeat_ms)
        if self._cancel_look is not None and self._look_at <= when:
            return
        self._unset_look()
        self._look_at = MonotonicMs(when)
        self._cancel_look = self._doors.clock.call_at(self._look_at, self._timed_look)

    def _timed_look(self) -> None:
        self._notice_standstill()
        self._cancel_look = None
        self._look()

    def _unset_look(self) -> None:
        if self._cancel_look is not None:
            self._cancel_look()
            self._cancel_look = None

    # Proposals of its own.

    async def _set_standing(
        self, nodes: tuple[tuple[NodeId, RegistrationEpoch], ...], standing: Standing
    ) -> None:
        """Propose once; who is still due is proposed again at a later look."""
        try:
            await self._quorum.propose(SetStanding(nodes=nodes, standing=standing))
        except RequestError as refused:
            self._doors.note("controller_not_taken", error=str(refused))

    async def _form(self, request: FormCluster) -> None:
        while self._active and not self._quorum.image.cluster_id:
            try:
                await self._quorum.propose(request)
            except RequestError as refused:
                self._doors.note("controller_not_taken", error=str(refused))
                await pause(self._doors.clock, AGAIN_MS)

    def _see_to_members(self) -> None:
        if self._active and self._outsiders():
            self._do("members", self._admit())

    def _outsiders(self) -> list[tuple[BrokerImage, bool]]:
        """Return which registered nodes are no members yet, or are to get a vote now."""
        configuration, image = self._quorum.configuration, self._quorum.image
        wanted = VOTERS_WANTED - len(configuration.voters)
        found = []
        for broker in image.brokers.values():
            member = Voter(broker.node, broker.directory)
            had_vote = any(one.node == broker.node for one in configuration.voters)
            if member not in configuration.voters and broker.standing.may_join:
                votes = (had_vote or wanted > 0) and not gets_no_vote(image, broker)
                if votes or member not in configuration.learners:
                    found.append((broker, votes))
        return found

    async def _admit(self) -> None:
        """Make members of registered nodes, one after the other, for as long as this node leads."""
        while self._active and (outsiders := self._outsiders()):
            broker, votes = outsiders[0]
            try:
                await self._quorum.admit(Voter(broker.node, broker.directory), replaces=True)
                if votes:
                    await self._quorum.change_voters((broker.node,), ())
            except RequestError as refused:
                self._doors.note("controller_not_taken", error=str(refused))
                await pause(self._doors.clock, AGAIN_MS)

    def _do(self, what: object, work: Coroutine[object, object, None]) -> None:
        """Run work that nobody does already."""
        if what in self._under_way:
            work.close()
            return
        self._under_way.add(what)
        self._doors.spawn.start(self._done(what, work), "controller")

    async def _done(self, what: object, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        finally:
            self._under_way.discard(what)

    def _now(self) -> MonotonicMs:
        return self._doors.clock.monotonic_ms()
