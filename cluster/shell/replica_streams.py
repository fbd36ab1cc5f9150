"""The replica streams of one node: between the cores of its partitions and the other nodes.

An `Outlet` for every partition, and what links, disk and controller call (`replica_port`). What
gathers in a tick goes out at its end: one look at each partition that has news, its frames behind
one another on each stream, one proposal to the controller.
"""

from collections.abc import Callable, Mapping

from cluster.controller.isr import IsrProposal, RowVersion
from cluster.peer.replica import (
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
from cluster.peer.replica_frames import OfOne, OfPartition, OfStream, decode, encode
from cluster.peer.table import Frame
from cluster.replication.events import AnswerFor, IsrRefused, ProposeIsr
from cluster.shell.followed_leaders import FollowedLeaders
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.partitions import Partitions
from cluster.shell.replica_beats import ReplicaBeats
from cluster.shell.replica_port import ReplicaDoors
from cluster.shell.replica_sender import ReplicaSender
from cluster.shell.replica_stream import ReplicaStream
from logstore.partition_log import PartitionLog
from logstore.replicated import last_append_time
from logstore.settled import settled_end
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    NodeId,
    Offset,
    PartitionId,
    RegistrationEpoch,
)


class ReplicaStreams:
    """What partitions say to other nodes, and hear of them. Loop only."""

    def __init__(self, doors: ReplicaDoors, partitions: Partitions) -> None:
        """Speak for the partitions: before the first is hosted."""
        self._doors = doors
        self._partitions = partitions
        self._streams: dict[NodeId, ReplicaStream] = {}
        self._beats = ReplicaBeats(doors, partitions, linked=self._streams, tell=self._beat)
        self._sender = ReplicaSender(
            doors, partitions.by_id, ended=self._has_ended, woken=self._beats.wake
        )
        self._promised: dict[NodeId, AppendTimeMs] = {}
        self._touched: dict[PartitionId, None] = {}
        self._held: dict[PartitionId, AppendTimeMs] = {}
        """Partitions that report nothing before so much of the append clock is reserved."""
        self._proposals: list[IsrProposal] = []
        self._answers: list[RowVersion] = []
        self._listeners: list[Callable[[HostedPartition], None]] = []
        self._asked = False
        self._leaders = FollowedLeaders()
        self.registration_epoch = RegistrationEpoch(0)
        """Of this node, for every `Open` and `Progress`; see `registered`."""
        partitions.speak_by(self)

    def start(self) -> None:
        """Begin to beat, and to judge followers."""
        self._beats.start()

    def stop(self) -> None:
        """Beat no more."""
        self._beats.stop()

    def subscribe(self, listener: Callable[[HostedPartition], None]) -> None:
        """Call with a partition that this node has begun to lead, or does not lead any more.

        Not with one that leads from its first moment on: whoever hosts it looks at `leads`.
        """
        self._listeners.append(listener)

    # What links, disk and controller call.

    def stream_up(self, node: NodeId) -> None:
        """A fresh stream to a node is there: open everything that it leads."""
        self.stream_lost(node)
        self._streams[node] = ReplicaStream(node, self._doors.links)
        for partition in self._partitions:
            partition.replica.stream_up(node)
        self._ask_end()

    def stream_lost(self, node: NodeId) -> None:
        """The stream to a node has ended: what was on it is lost."""
        if self._streams.pop(node, None) is None:
            return
        self._promised.pop(node, None)
        now = self._doors.clock.monotonic_ms()
        self._beats.wake_all()
        for partition in self._partitions:
            if partition.replica.follows == node:
                self._beats.not_refused(partition.id)
            partition.replica.stream_lost(now, node)
            partition.answer()

    def incoming(self, node: NodeId, frame: Frame) -> None:
        """Take a frame of the replica family.

        Raises:
            MalformedError: it is none, or says what this node cannot have said: end the link.
        """
        stream = self._streams.get(node)
        if stream is None or stream.broken:
            return
        said = decode(frame)
        if isinstance(said, OfPartition):
            self._of_partition(stream, said)
        else:
            self._of_stream(stream, said)
        self._ask_end()

    def round_ended(self) -> None:
        """A round is done: what waited for the clock's reservation may go out."""
        reserved = self._doors.append_clock.reserved_until
        self._held = {where: time for where, time in self._held.items() if time > reserved}
        for stream in self._streams.values():
            stream.answer_beat(reserved)
        if self._streams:
            self._ask_end()

    def registered(self, epoch: RegistrationEpoch) -> None:
        """This node is registered: before partitions are loaded, or anew."""
        if epoch != self.registration_epoch:
            self.registration_epoch = epoch
            for partition in self._partitions:
                partition.replica.registered()

    def isr_refused(self, partition: PartitionId, based_on: int) -> None:
        """The controller did not take a proposal, and never will."""
        hosted = self._partitions.by_id(partition)
        if hosted is not None:
            hosted.replica.told(self._doors.clock.monotonic_ms(), IsrRefused(based_on))
            hosted.answer()

    # What partitions call: an `Outlet`.

    def say(self, where: PartitionId, to: NodeId, message: OfOne) -> None:
        """Put a frame on the stream to a node; dropped if there is none."""
        stream = self._streams.get(to)
        if stream is not None:
            if isinstance(message, Open):
                self._beats.wake(where)
            elif isinstance(message, Leave):  # what is written later is told to another leader
                stream.left(where)
            stream.say([encode(where, message)])
            self._ask_end()

    def ready(self, where: PartitionId, to: NodeId) -> None:
        """There is something to send to a follower."""
        stream = self._streams.get(to)
        if stream is not None:
            self._sender.ready(stream, where)
            self._ask_end()

    def touched(self, where: PartitionId) -> None:
        """Something is to be announced to followers at the end of the tick."""
        self._touched[where] = None
        self._beats.wake(where)
        self._ask_end()

    def progress(
        self, where: PartitionId, to: NodeId, message: Progress, *, soon: bool = True
    ) -> None:
        """Tell a leader how far this replica is, at the end of the tick; else with a beat."""
        stream = self._streams.get(to)
        if stream is not None:
            stream.gather(where, message, soon=soon)
            stream.intake.settled(where, settled_end(self._doors.directory.partitions[where]))
            self._ask_end()

    def reserve(self, where: PartitionId, closed_time: AppendTimeMs) -> None:
        """Let the append clock never read less; nothing is reported until that is durable."""
        if not self._reserve(closed_time):
            self._held[where] = closed_time

    def took(self, where: PartitionId, leader: NodeId, size_bytes: int) -> None:
        """Batches of a leader are in the tail, up to the log's end: have them written."""
        log = self._doors.directory.partitions[where]
        self._doors.accepted(size_bytes)
        self._streams[leader].intake.appended(where, log.log_end, size_bytes)
        self._doors.ask_writer()

    def cut(self, where: PartitionId) -> None:
        """The log was cut, or begun anew: have that written, give back the room it took."""
        for stream in self._streams.values():
            stream.left(where)
        self._doors.ask_writer()
        self._ask_end()

    def sync(self, where: PartitionId) -> None:
        """Have the log made durable to its end."""
        log = self._doors.directory.partitions[where]
        if log.flushed_end < log.log_end:
            log.sync()
            self._doors.ask_writer()

    def begin_anew(self, where: PartitionId, offset: Offset) -> PartitionLog:
        """Return an empty log that takes the place of the partition's."""
        directory = self._doors.directory
        unwritten = sum(run.size_bytes for run in directory.partitions[where].pending)
        self._doors.let_go(unwritten)
        return directory.begin_anew(where, offset)

    def propose(self, where: PartitionId, proposal: ProposeIsr) -> None:
        """Ask the controller for another ISR, at the end of the tick."""
        version = self._version(where, proposal.based_on)
        if version is not None:
            self._proposals.append(IsrProposal(version, tuple(sorted(proposal.followers.items()))))
            self._ask_end()

    def answer_for(self, where: PartitionId, answer: AnswerFor) -> None:
        """Tell the controller that the leader holds all that is committed."""
        version = self._version(where, answer.partition_epoch)
        if version is not None:
            self._answers.append(version)
            self._ask_end()

    def promised(self) -> Mapping[NodeId, AppendTimeMs]:
        """Return below which append time each other node would stamp nothing, should it lead.

        Where nobody has asked for a while, as of the last sign of life; whoever asks again has
        newer ones.
        """
        self._beats.asked()
        return self._promised

    def halted(self, where: PartitionId, why: str) -> None:
        """The replica stands still."""
        self._doors.halted(where, why)

    def forget(self, where: PartitionId) -> None:
        """The partition is gone from this node."""
        for stream in self._streams.values():
            stream.forget(where)
        self._held.pop(where, None)
        self._beats.forget(where)
        self._leaders.follow(where, None)

    def follows(self, where: PartitionId, leader: NodeId | None) -> None:
        """This node follows another leader from here on; None: nobody."""
        self._leaders.follow(where, leader)

    def role_changed(self, where: PartitionId) -> None:
        """This node has begun to lead, or does not lead any more."""
        self._beats.wake(where)
        for stream in self._streams.values():
            stream.sender.forget(where)
        partition = self._partitions.by_id(where)
        if partition is not None:
            # Of its newest records no beat has told yet how far the clock was that stamped them.
            self._doors.append_clock.not_below(last_append_time(partition.log))
            for listener in self._listeners:
                listener(partition)

    def _of_stream(self, stream: ReplicaStream, said: OfStream) -> None:
        match said:
            case Credit():
                if not stream.sender.may_be_credited(said):
                    raise MalformedError("CREDIT", 0, f"{said.size_bytes} bytes were never taken")
                stream.sender.credited(said)
            case Beat(closed_time):
                self._beaten(stream, closed_time)
            case BeatAnswer(closed_time):
                before = self._promised.get(stream.node, closed_time)
                self._promised[stream.node] = max(before, closed_time)

    def _beaten(self, stream: ReplicaStream, closed_time: AppendTimeMs) -> None:
        """Follow the append clock of a node that leads something here."""
        if stream.node in self._leaders:
            stream.owes_beat = closed_time
            self._reserve(closed_time)
            stream.answer_beat(self._doors.append_clock.reserved_until)

    def _of_partition(self, stream: ReplicaStream, said: OfPartition) -> None:
        partition = self._partitions.by_id(said.partition)
        message = said.message
        if isinstance(message, Open | Progress | Leave):
            if message.follower != stream.node:
                raise MalformedError("replica", 0, f"node {message.follower} speaks as another")
            if partition is not None:
                self._beats.wake(said.partition)
                partition.replica.from_follower(self._doors.clock.monotonic_ms(), message)
                partition.answer()
            elif isinstance(message, Open):  # it has the newer metadata, and is to ask again
                refused = Refused(stream.node, LeaderEpoch(0), ErrorCode.UNKNOWN_EPOCH)
                self.say(said.partition, stream.node, refused)
            return
        if message.to != self._doors.node:
            raise MalformedError("replica", 0, f"it is for node {message.to}")
        follows = partition is not None and partition.replica.follows == stream.node
        if partition is None or not follows or not self._take(partition, said, message):
            stream.intake.refused(sum(len(batch.raw) for batch in said.batches))

    def _take(
        self, partition: HostedPartition, said: OfPartition, message: Batches | Diverging | Refused
    ) -> bool:
        """Let a replica take what its leader says; tell whether its batches were appended."""
        if isinstance(message, Refused):
            self._beats.refused(partition)
        elif isinstance(message, Batches):
            self._beats.not_refused(said.partition)
        if said.batches:
            size = sum(len(batch.raw) for batch in said.batches)
            try:
                self._doors.directory.accepts(size, into_reserve=True)
            except RequestError:  # the disk is full: its leader is asked again, in a while
                self._beats.full(said.partition)
                self._doors.ask_space()
                return False
        return partition.replica.from_leader(message, said.batches)

    def _reserve(self, time: AppendTimeMs) -> bool:
        """Let the append clock read no less than this; tell whether that is durable already."""
        clock = self._doors.append_clock
        clock.not_below(time)
        if clock.needs_reserve(time):
            self._doors.directory.reserve_clock(clock.reserve_until(time))
            self._doors.ask_writer()
        return clock.reserved_until >= time

    def _version(self, where: PartitionId, partition_epoch: int) -> RowVersion | None:
        partition = self._partitions.by_id(where)
        if partition is None:
            return None
        return RowVersion(*where, partition.leader_epoch, partition_epoch)

    def _has_ended(self, stream: ReplicaStream) -> bool:
        return self._streams.get(stream.node) is not stream

    def _ask_end(self) -> None:
        if not self._asked:
            self._asked = True
            self._doors.tick.at_end(self._end_of_tick)

    def _end_of_tick(self) -> None:
        """Send what has gathered."""
        self._asked = False
        touched, self._touched = self._touched, {}
        now = self._doors.clock.monotonic_ms()
        for where in touched:
            partition = self._partitions.by_id(where)
            if partition is not None:
                partition.tick_ended(now)
        for stream in list(self._streams.values()):
            stream.report(self._held)
            self._sender.send(stream)
            if stream.broken:
                self.stream_lost(stream.node)
                self._doors.links.end(stream.node)
        if self._proposals:
            proposals, self._proposals = self._proposals, []
            self._doors.controller.alter_isr(proposals)
        if self._answers:
            answers, self._answers = self._answers, []
            self._doors.controller.answer_for(answers)

    def _beat(self) -> None:
        """Tell the others what the clock reads."""
        if self._streams:
            closed_time = self._sender.append_time()
            for stream in self._streams.values():
                stream.beat(closed_time)
                stream.tell_late()
        self._ask_end()
