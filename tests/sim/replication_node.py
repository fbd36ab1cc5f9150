"""One node of the replication world: the real cores, and a shell around them that is all of it.

Its log is a list. A round takes what is there, is written after a while and synced after another;
a kill keeps what was written, a power cut what was synced. The shell follows the docstrings of the
cores and nothing else: what it needs and they do not say would be missing there too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cluster.peer.replica import (
    NO_EPOCH,
    Batches,
    Beat,
    BeatAnswer,
    Credit,
    Diverging,
    Leave,
    Open,
    Progress,
    Refused,
)
from cluster.replication.catch_up import Grant, Intake, Sender, Source
from cluster.replication.events import (
    AnswerFor,
    Append,
    Appended,
    Assignment,
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
    Reserve,
    StreamLost,
    StreamReady,
    Taken,
    TickEnded,
    Trim,
    Trimmed,
    Truncate,
)
from cluster.replication.follower import Event as FollowerEvent
from cluster.replication.follower import PartitionFollower
from cluster.replication.leader import PartitionLeader
from cluster.replication.leader_events import Event as LeaderEvent
from cluster.replication.leadership import (
    BeginEpoch,
    EndEpoch,
    Leadership,
    LogStands,
    StopFollowing,
    SyncLog,
)
from cluster.replication.log_state import LogState
from model.ids import AppendTimeMs, MonotonicMs, NodeId, Offset, RegistrationEpoch
from tests.sim.replication_log import Record, StoredLog

if TYPE_CHECKING:
    from tests.sim.replication_world import World

RECORD_BYTES: Final = 100
ROOM_BYTES: Final = 1_000
FRAME_BYTES: Final = 400
TAIL_RECORDS: Final = 6
BEAT_MS: Final = 200
JUDGE_MS: Final = 500
REFUSED_PAUSE_MS: Final = 50


class WithRecords(NamedTuple):
    """A frame of batches, with their bytes."""

    header: Batches
    records: list[Record]


Frame: TypeAlias = (
    Open | Progress | Leave | Credit | BeatAnswer | Beat | Diverging | Refused | WithRecords
)


class Process(StoredLog):
    """What ends with a kill: everything but the log."""

    def __init__(
        self,
        world: World,
        me: NodeId,
        *,
        registration: RegistrationEpoch,
        log: list[Record],
        log_start: Offset,
    ) -> None:
        """Start with what recovery found; all of it is durable."""
        self.world, self.me, self.registration = world, me, registration
        super().__init__(log, log_start)
        self.mark = Offset(0)
        self.leadership = Leadership(me)
        self.leader: PartitionLeader | None = None
        self.follower: PartitionFollower | None = None
        self.leader_epoch = NO_EPOCH
        self.senders: dict[NodeId, Sender[int]] = {}
        self.intakes: dict[NodeId, Intake[int]] = {}
        self.heard: dict[NodeId, MonotonicMs] = {}
        self.answered: dict[NodeId, AppendTimeMs] = {}
        self.session_at = world.now
        self.waiting: list[tuple[Offset, int]] = []
        self.floor = max([world.floors[me], *(record.append_time for record in log)])
        self.last_time = AppendTimeMs(0)
        self.every(BEAT_MS, self.beat)
        self.every(JUDGE_MS, self.judge)

    def every(self, period_ms: int, call: Callable[[], None]) -> None:
        def again() -> None:
            call()
            self.world.later(self, period_ms, again)

        self.world.later(self, period_ms, again)

    def later(self, delay_ms: int, call: Callable[[], None]) -> None:
        self.world.later(self, delay_ms, call)

    def delay(self, *, sync: bool) -> int:
        slow = self.world.slow_sync.get(self.me, 0) if sync else 0
        return self.world.disk_delay(self.me) + slow

    def was_cut(self) -> None:
        self.follow(CutDurable(self.written, self.flushed))

    def persisted(self) -> None:
        self.world.check()
        event = Persisted(self.written, self.flushed, self.flushed)
        if self.leader is not None:
            self.lead(event)
        elif self.follower is not None:
            self.follow(event)
        for peer, intake in self.intakes.items():
            intake.settled(0, self.flushed)
            self.give_back(peer)
        stands = LogStands(Offset(len(self.log)), self.flushed, self.cut)
        for effect in self.leadership.step(stands):
            match effect:
                case BeginEpoch():
                    self.begin(effect)
                case Open():
                    self.lead(effect)
                case _:
                    raise AssertionError(effect)

    # What the metadata say.

    def learn(self, assignment: Assignment) -> None:
        for effect in self.leadership.step(assignment):
            match effect:
                case EndEpoch():
                    self.leader = None
                    self.senders.clear()
                    self.world.unknown += len(self.waiting)
                    self.waiting.clear()
                case StopFollowing():
                    self.follower = None
                case SyncLog():
                    self.leader_epoch = assignment.leader_epoch
                    self.round()
                    self.world.later(self, 0, self.persisted)
                case Follow(leader, leader_epoch):
                    self.leader_epoch = leader_epoch
                    if self.follower is None:
                        self.follower = PartitionFollower(
                            self.me, self.registration, log=self.state()
                        )
                    self.intakes = {leader: Intake(room_bytes=ROOM_BYTES)}
                    self.follow(effect)
                case Leave():
                    if self.leadership.former is not None:
                        self.world.send(self.me, self.leadership.former, effect)
                case IsrDecided():
                    self.lead(effect)
                case _:
                    raise AssertionError(effect)

    def state(self) -> LogState:
        return LogState(self.ends(), self.epochs, self.log_start, self.mark, self.flushed, self.cut)

    def begin(self, begin: BeginEpoch) -> None:
        self.follower = None
        self.leader = PartitionLeader(
            self.me,
            assignment=begin.assignment,
            log=self.state(),
            rule=self.world.rule,
            now=self.world.now,
        )
        self.world.began(self)

    # Leading.

    def append(self, number: int) -> bool:
        """Take a record that is to be acknowledged by all; False: refused, not done."""
        leader = self.leader
        if leader is None or leader.alone or not leader.enough_in_sync:
            return False
        now = self.world.clock(self.me)
        self.last_time = AppendTimeMs(max(now, self.floor + 10, self.last_time))
        self.put([Record(self.leader_epoch, number, self.last_time)])
        self.waiting.append((Offset(len(self.log)), number))
        self.lead(Appended(Offset(len(self.log))))
        self.lead(TickEnded())
        return True

    def lead(self, event: LeaderEvent) -> None:
        leader = self.leader
        if leader is None:
            return
        for effect in leader.step(self.world.now, event):
            match effect:
                case Committed(mark):
                    self.mark = mark
                    self.world.committed(self, mark)
                    while self.waiting and self.waiting[0][0] <= mark:
                        self.world.acknowledged(self.waiting.pop(0)[1])
                    self.world.later(self, 0, lambda: self.lead(TickEnded()))
                case Ready(to):
                    self.ready(to)
                case Batches(to, _, start, end):
                    self.world.send(self.me, to, WithRecords(effect, self.log[start:end]))
                case ProposeIsr():
                    self.world.controller.propose(self, effect)
                case AnswerFor(partition_epoch):
                    self.world.controller.answer_for(self, partition_epoch)
                case Diverging(to) | Refused(to):
                    self.world.send(self.me, to, effect)

    def ready(self, to: NodeId) -> None:
        if self.leader is None:
            return
        sender = self.senders.setdefault(
            to, Sender(room_bytes=ROOM_BYTES, frame_bytes_max=FRAME_BYTES)
        )
        far = self.leader.next_to_send(to) < len(self.log) - TAIL_RECORDS
        sender.ready(0, Source.FILES if far else Source.TAIL)
        self.pump(to)

    def pump(self, to: NodeId) -> None:
        sender = self.senders.get(to)
        while sender is not None and self.leader is not None and (grant := sender.grant()):
            start = self.leader.next_to_send(to)
            if grant.source is Source.TAIL:
                self.read(to, sender, grant, start=start)
                continue
            self.world.happened["read from files"] += 1
            later = partial(self.read_from_files, to, sender, grant, start=start)
            self.world.later(self, self.world.disk_delay(self.me), later)

    def read_from_files(
        self, to: NodeId, sender: Sender[int], grant: Grant[int], *, start: Offset
    ) -> None:
        if self.senders.get(to) is sender and self.leader is not None:
            self.read(to, sender, grant, start=start)
            self.pump(to)

    def read(self, to: NodeId, sender: Sender[int], grant: Grant[int], *, start: Offset) -> None:
        """Send what was read; nothing, if the follower has opened again since."""
        assert self.leader is not None
        at = self.leader.next_to_send(to)
        many = max(1, grant.max_bytes // RECORD_BYTES) if at == start else 0
        end = Offset(min(start + many, len(self.log))) if at == start else at
        sender.done(grant, (end - at) * RECORD_BYTES)
        clock = max(self.world.clock(self.me), self.floor, self.last_time)
        self.lead(Taken(to, end, clock))

    def delete_records(self) -> None:
        """Let the log begin at the mark: what is below is of no use any more."""
        if self.leader is not None and self.leader.high_watermark is not None:
            self.trim(self.mark)
            self.world.deleted(self.mark)
            self.lead(Trimmed(self.mark))
            self.lead(TickEnded())

    # Following.

    def follow(self, event: FollowerEvent, records: list[Record] | None = None) -> None:
        follower, leader = self.follower, self.leadership.assignment.leader
        if follower is None or leader is None:
            return
        for effect in follower.step(event):
            match effect:
                case Append(start, end):
                    assert records is not None and start == len(self.log), "LOG_HAS_NO_GAP"
                    assert end == start + len(records), "LOG_HAS_NO_GAP"
                    self.put(records)
                    size = len(records) * RECORD_BYTES
                    self.intakes[leader].appended(0, end, size)
                    self.floor = max(self.floor, records[-1].append_time)
                case Reserve(closed_time):
                    self.floor = max(self.floor, closed_time)
                case Truncate() | BeginAnew():
                    self.shorten(effect)
                case Committed(mark):
                    self.mark = mark
                case Open() | Progress():
                    self.world.send(self.me, leader, effect)
                case Halted(why):
                    raise AssertionError(f"FOLLOWER_KEEPS_WHAT_IS_COMMITTED: {why}")
                case Trim(log_start):
                    self.trim(log_start)

    def shorten(self, effect: Truncate | BeginAnew) -> None:
        anew = isinstance(effect, BeginAnew)
        self.world.happened["begun anew" if anew else "truncated"] += 1
        shorten = self.begin_anew if anew else self.truncate
        shorten(effect.offset)
        for peer, intake in self.intakes.items():
            intake.dropped(0)
            self.give_back(peer)

    def take(self, sender: NodeId, frame: WithRecords) -> None:
        before = len(self.log)
        self.follow(frame.header, frame.records)
        taken = len(self.log) - before
        if sender in self.intakes and taken < len(frame.records):
            self.intakes[sender].refused(len(frame.records) * RECORD_BYTES)
            self.give_back(sender)

    def give_back(self, peer: NodeId) -> None:
        credit = self.intakes[peer].give_back()
        if credit is not None:
            self.world.send(self.me, peer, credit)

    # The links.

    def receive(self, sender: NodeId, frame: Frame) -> None:
        self.heard[sender] = self.world.now
        match frame:
            case Open() if self.leader is None:
                for effect in self.leadership.step(frame):
                    assert isinstance(effect, Refused)
                    self.world.send(self.me, sender, effect)
            case Open() | Progress() | Leave():
                self.lead(frame)
            case Refused():
                again = partial(self.follow, StreamReady())
                self.world.later(self, REFUSED_PAUSE_MS, again)
            case Diverging():
                self.follow(frame)
            case WithRecords():
                self.take(sender, frame)
            case Credit() | Beat() | BeatAnswer():
                self.of_stream(sender, frame)

    def of_stream(self, sender: NodeId, frame: Credit | Beat | BeatAnswer) -> None:
        match frame:
            case Credit():
                stream = self.senders.get(sender)
                if stream is not None and stream.may_be_credited(frame):
                    stream.credited(frame)
                    self.pump(sender)
            case Beat(closed_time):
                self.floor = max(self.floor, closed_time)
                self.world.send(self.me, sender, BeatAnswer(self.floor))
            case BeatAnswer(closed_time):
                self.answered[sender] = closed_time

    def stream_lost(self, peer: NodeId) -> None:
        self.answered.pop(peer, None)
        self.senders.pop(peer, None)
        self.leadership.step(StreamLost(peer))
        self.lead(StreamLost(peer))

    def stream_ready(self, peer: NodeId) -> None:
        if peer == self.leadership.assignment.leader:
            self.intakes = {peer: Intake(room_bytes=ROOM_BYTES)}
            self.follow(StreamReady())

    def beat(self) -> None:
        for peer in self.world.others(self.me):
            self.world.send(self.me, peer, Beat(self.world.clock(self.me)))
        self.world.controller.heartbeat(self)

    def judge(self) -> None:
        held = self.session_at >= self.world.now - self.world.session_ms
        self.lead(Judged(dict(self.heard), held))
        if self.leader is not None:
            own = self.world.clock(self.me)
            if len(self.log) > self.mark:
                own = min(own, self.log[self.mark].append_time)
            self.world.closed(self, self.leader.closed_time(own, self.answered))

    def refused(self, based_on: int) -> None:
        self.lead(IsrRefused(based_on))
