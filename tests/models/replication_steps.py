"""What each step does to the partition of `replication_state`.

The disk, the links and the controller are plain: a write or a sync ends at any time, a link carries
one frame each way and may be reset, the controller takes what comes when it comes. A kill keeps
what is written, a power cut what is flushed; both keep what was sent. Elections and changes of the
ISR are those of `cluster.controller.election`.
"""

from typing import Final

from cluster.controller import election
from cluster.controller.image import LogEnd, PartitionImage, Unclean
from cluster.peer.replica import NO_EPOCH, Batches, Diverging, Open, Progress, Refused
from cluster.replication.events import (
    AnswerFor,
    Append,
    BeginAnew,
    Committed,
    CutDurable,
    Follow,
    Halted,
    IsrDecided,
    IsrRefused,
    Judged,
    Persisted,
    ProposeIsr,
    Ready,
    StreamLost,
    StreamReady,
    Taken,
    Truncate,
)
from cluster.replication.follower import Effect as FollowerEffect
from cluster.replication.follower import Event as FollowerEvent
from cluster.replication.leader import PartitionLeader
from cluster.replication.leader_events import Effect as LeaderEffect
from cluster.replication.leader_events import Event as LeaderEvent
from cluster.replication.leadership import (
    BeginEpoch,
    EndEpoch,
    LogStands,
    Role,
    StopFollowing,
    SyncLog,
)
from cluster.replication.log_state import LogState
from model.ids import AppendTimeMs, NodeId, Offset, RegistrationEpoch
from tests.models.explore import BrokenError
from tests.models.replication_state import (
    DOWN,
    ELECTED,
    FOLLOWING,
    HALTED,
    IDLE,
    LINK,
    NODES,
    NOW,
    OPENING,
    RULES,
    Frame,
    Limits,
    Log,
    Node,
    World,
    assignment_of,
    durable,
    ends_of,
    followed,
    follower_of,
    leader_of,
    leadership_of,
    led,
    proposal_of,
    table,
)

_NO_EFFECT: Final = (FOLLOWING, OPENING)


class Draft:
    """A world that is being changed by one step."""

    def __init__(self, world: World, limits: Limits) -> None:
        self.limits = limits
        self.rule = RULES[limits.min_insync_replicas]
        self.nodes, self.links, self.row = list(world.nodes), list(world.links), world.row
        self.registered, self.up = list(world.registered), list(world.up)
        self.proposals = list(world.proposals)
        self.committed, self.shown = world.committed, world.shown
        self.appends, self.faults, self.shrinks = world.appends, world.faults, world.shrinks

    def frozen(self) -> World:
        return World(
            tuple(self.nodes),
            tuple(self.links),
            self.row,
            tuple(self.registered),
            tuple(self.up),
            tuple(self.proposals),
            self.committed,
            self.shown,
            self.appends,
            self.faults,
            self.shrinks,
        )

    # What the cores say.

    def lead(self, me: NodeId, event: LeaderEvent, core: PartitionLeader | None = None) -> None:
        """Let a leader take an event in."""
        node = self.nodes[me - 1]
        core = core or leader_of(me, node, self.rule)
        effects = core.step(NOW, event)
        self.nodes[me - 1] = led(node, core)
        self.lead_on(me, core, effects)

    def lead_on(self, me: NodeId, core: PartitionLeader, effects: list[LeaderEffect]) -> None:
        """Do what a leader's core asked for."""
        node = self.nodes[me - 1]
        for effect in effects:
            match effect:
                case Batches(to, _, start, end):
                    self.put(me, to, Frame(effect, node.log[start:end]))
                case Diverging(to):
                    self.put(me, to, Frame(effect, ()))
                case ProposeIsr():
                    self.proposals[me - 1] = proposal_of(node.epoch, effect, self.registered)
                case AnswerFor(partition_epoch):
                    row = self.row
                    if (row.leader, row.partition_epoch) == (me, partition_epoch):
                        self.decide(election.answered_for(row))
                case Committed(mark):
                    self.commit(node.log[:mark])
                case Ready() | Refused():
                    pass  # what is sent has a step of its own
        self.show(core.high_watermark, node)

    def show(self, shown: Offset | None, node: Node) -> None:
        """Note what the newest leadership shows."""
        if shown is not None and node.epoch >= self.shown[0]:
            if shown < self.shown[1]:
                raise BrokenError("SHOWN_MARK_NEVER_FALLS")
            self.shown = (node.epoch, shown)

    def follow(self, me: NodeId, event: FollowerEvent, records: Log = ()) -> None:
        """Let a follower take an event in."""
        node = self.nodes[me - 1]
        core = follower_of(me, node)
        effects = core.step(event)
        log, uncut = node.log, node.uncut
        for effect in effects:
            match effect:
                case Append(start, end):
                    if start != len(log) or end - start != len(records):
                        raise BrokenError("LOG_HAS_NO_GAP")
                    log += records
                case Truncate(offset) | BeginAnew(offset):
                    uncut, log = log[: node.flushed], log[:offset]
                case Halted():
                    raise BrokenError("FOLLOWER_KEEPS_WHAT_IS_COMMITTED")
                case _:
                    pass  # what is said is put on links below
        if isinstance(event, CutDurable):
            uncut = None
        self.nodes[me - 1] = followed(node, core, log)._replace(uncut=uncut)
        self.say(me, effects)

    def say(self, me: NodeId, effects: list[FollowerEffect]) -> None:
        """Put what a follower opens with on its link; positions have a step of their own."""
        seen = self.nodes[me - 1].seen
        for effect in effects:
            if isinstance(effect, Open) and seen is not None and seen.leader is not None:
                self.put(me, seen.leader, Frame(effect, ()))

    def put(self, sender: NodeId, to: NodeId, frame: Frame) -> None:
        """Send, unless the link is full: then it is lost, as with a stream that ends."""
        place = LINK[sender, to]
        if not self.links[place]:
            self.links[place] = (frame,)

    # What may happen.

    def append(self, me: NodeId) -> None:
        node = self.nodes[me - 1]
        self.appends += 1
        self.nodes[me - 1] = node._replace(log=(*node.log, (node.epoch, self.appends)))

    def send(self, me: NodeId, to: NodeId) -> None:
        self.lead(me, Taken(to, Offset(len(self.nodes[me - 1].log)), AppendTimeMs(0)))

    def write(self, me: NodeId) -> None:
        self.persist(me, Offset(len(self.nodes[me - 1].log)), self.nodes[me - 1].flushed)

    def flush(self, me: NodeId) -> None:
        self.persist(me, self.nodes[me - 1].written, self.nodes[me - 1].written)

    def persist(self, me: NodeId, written: Offset, flushed: Offset) -> None:
        node = self.nodes[me - 1]
        if node.lead is not None:
            self.lead(me, Persisted(written, flushed, flushed))
        elif node.phase in {IDLE, ELECTED, HALTED}:
            self.nodes[me - 1] = node._replace(written=written, flushed=flushed)
        else:
            self.follow(me, Persisted(written, flushed, flushed))

    def cut(self, me: NodeId) -> None:
        end = Offset(len(self.nodes[me - 1].log))
        self.follow(me, CutDurable(end, end))

    def report(self, me: NodeId, to: NodeId) -> None:
        [progress] = follower_of(me, self.nodes[me - 1])._report()
        assert isinstance(progress, Progress)
        self.put(me, to, Frame(progress, ()))

    def open_again(self, me: NodeId) -> None:
        self.follow(me, StreamReady())

    def deliver(self, sender: NodeId, to: NodeId) -> None:
        place = LINK[sender, to]
        [frame] = self.links[place]
        self.links[place] = ()
        node = self.nodes[to - 1]
        match frame.value:
            case Open() | Progress() if node.lead is not None:
                self.lead(to, frame.value)
            case Batches() | Diverging() if OPENING <= node.phase <= HALTED:
                self.follow(to, frame.value, frame.records)

    def reset(self, one: NodeId, other: NodeId) -> None:
        """The link between two nodes breaks: what is on it is lost, and both notice."""
        for a, b in ((one, other), (other, one)):
            self.links[LINK[a, b]] = ()
        for a, b in ((one, other), (other, one)):
            node = self.nodes[a - 1]
            if node.lead is not None:
                self.lead(a, StreamLost(b))
            elif node.phase in _NO_EFFECT and node.seen is not None and node.seen.leader == b:
                self.follow(a, StreamReady())

    def lag(self, me: NodeId, behind: NodeId) -> None:
        """One follower was not heard of for too long."""
        self.shrinks += 1
        core = leader_of(me, self.nodes[me - 1], self.rule)
        core._followers[behind].caught_up_at = core._began
        heard = {peer: NOW for peer in NODES if peer not in {me, behind}}
        self.lead(me, Judged(heard, session_held=True), core)

    def answer(self, me: NodeId) -> None:
        """Everybody is in time; the leader may answer for marked replicas."""
        self.lead(me, Judged(dict.fromkeys(NODES, NOW), session_held=True))

    def learn(self, me: NodeId) -> None:
        """The metadata reach a node, at their newest."""
        node = self.nodes[me - 1]
        core = leadership_of(me, node)
        effects = core.step(assignment_of(self.row))
        self.nodes[me - 1] = node = node._replace(seen=self.row)
        if node.phase == ELECTED and core.role is not Role.ELECTED:
            self.nodes[me - 1] = node._replace(phase=IDLE)
        for effect in effects:
            match effect:
                case EndEpoch() | StopFollowing():
                    self.nodes[me - 1] = self.nodes[me - 1]._replace(lead=None, phase=IDLE)
                case SyncLog():
                    node, epoch = self.nodes[me - 1], self.row.leader_epoch
                    self.nodes[me - 1] = node._replace(phase=ELECTED, epoch=epoch)
                case Follow():
                    self.follow(me, effect)
                case IsrDecided():
                    self.lead(me, effect)
                case _:
                    pass  # frames to a former leader, which decide nothing here

    def begin(self, me: NodeId) -> None:
        """An elected leader has synced its log."""
        node = self.nodes[me - 1]
        core = leadership_of(me, node)
        stands = LogStands(Offset(len(node.log)), node.flushed, node.uncut is not None)
        [begin] = core.step(stands)
        assert isinstance(begin, BeginEpoch)
        state = LogState(ends_of(node), table(node.log), Offset(0), node.mark, node.flushed)
        leader = PartitionLeader(
            me, assignment=begin.assignment, log=state, rule=self.rule, now=NOW
        )
        self.nodes[me - 1] = led(node, leader)
        self.lead_on(me, leader, [])

    def rule_on(self, me: NodeId) -> None:
        """The controller decides about a proposal."""
        proposal, row = self.proposals[me - 1], self.row
        self.proposals[me - 1] = None
        assert proposal is not None
        if (row.leader, row.leader_epoch) != (me, proposal.leader_epoch):
            return
        known = all(self.may_join(*follower) for follower in proposal.followers)
        if row.partition_epoch == proposal.based_on and known:
            members = {me, *(node for node, _ in proposal.followers)}
            self.decide(election.altered(row, members, self.rule.min_insync_replicas))
        elif self.nodes[me - 1].lead is not None:
            self.lead(me, IsrRefused(proposal.based_on))

    def may_join(self, node: NodeId, registration: RegistrationEpoch) -> bool:
        """Tell whether a follower is who caught up, and not held for dead."""
        return self.registered[node - 1] == registration and self.up[node - 1]

    def decide(self, row: PartitionImage) -> None:
        """Settle a changed row; whoever is up may lead."""
        up = frozenset(node for node in NODES if self.up[node - 1])
        after = election.settled(
            row, election.Roster(up, frozenset(), up), self.rule.min_insync_replicas
        )
        if after != self.row:
            after = after._replace(partition_epoch=self.row.partition_epoch + 1)
            self.row = after

    def fence(self, me: NodeId) -> None:
        """The controller holds a node for dead: rightly, or it was silent for long."""
        if self.nodes[me - 1].phase != DOWN:
            self.faults += 1
        self.up[me - 1] = False
        self.decide(self.row)

    def unfence(self, me: NodeId) -> None:
        self.up[me - 1] = True
        self.decide(self.row)

    def kill(self, me: NodeId) -> None:
        node = self.nodes[me - 1]
        disk = node.uncut if node.uncut is not None else node.log[: node.written]
        self.end(me, disk)

    def power_cut(self, *whose: NodeId) -> None:
        for me in whose:
            node = self.nodes[me - 1]
            disk = node.uncut if node.uncut is not None else node.log[: node.flushed]
            self.end(me, disk)
        self.faults -= len(whose) - 1

    def end(self, me: NodeId, disk: Log) -> None:
        """A process ends; its disk keeps this, and what a sync had ended for stays flushed."""
        self.faults += 1
        node, end = self.nodes[me - 1], Offset(len(disk))
        self.nodes[me - 1] = node._replace(
            phase=DOWN,
            log=disk,
            written=end,
            flushed=end if node.uncut is not None else min(end, node.flushed),
            mark=min(node.mark, end),
            epoch=NO_EPOCH,
            lossy=NO_EPOCH,
            uncut=None,
            seen=None,
            lead=None,
        )
        for peer in NODES:
            if peer != me:
                self.links[LINK[peer, me]] = ()

    def start(self, me: NodeId) -> None:
        """A node recovers, which syncs what it keeps, and registers."""
        node = self.nodes[me - 1]
        registration = RegistrationEpoch(node.registration + 1)
        end = Offset(len(node.log))
        self.nodes[me - 1] = node._replace(
            phase=IDLE, written=end, flushed=end, registration=registration
        )
        for peer in NODES:
            if peer != me:
                self.links[LINK[peer, me]] = ()
        self.registered[me - 1] = registration
        self.up[me - 1] = True
        self.decide(election.restarted_unclean(self.row, me))

    def tell(self, me: NodeId) -> None:
        """A recovered candidate says how far its log goes."""
        log, row = self.nodes[me - 1].log, self.row
        end = LogEnd(log[-1][0] if log else NO_EPOCH, Offset(len(log)))
        marks = tuple(Unclean(me, end) if one.node == me else one for one in row.unclean)
        self.decide(row._replace(unclean=marks))

    def commit(self, log: Log) -> None:
        """A leader's mark has passed these records: they are acknowledged."""
        count = min(len(log), len(self.committed))
        if log[:count] != self.committed[:count]:
            raise BrokenError("COMMITTED_IS_FOREVER")
        holding = sum(durable(node)[: len(log)] == log for node in self.nodes)
        if holding < self.rule.min_insync_replicas:
            raise BrokenError("ACKED_IS_FLUSHED")
        self.committed = max(log, self.committed, key=len)
