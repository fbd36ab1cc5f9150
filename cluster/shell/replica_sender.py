"""Sends what followers lack, on one stream as much as it has room for: from memory, or from files.

What is read in the pool may be late: the stream may have ended, the leadership too, or the follower
has opened anew. Then it is dropped; whoever needs it asks again.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from cluster.peer.replica import Batches, Refused
from cluster.peer.replica_frames import encode, encode_batches
from cluster.replication.catch_up import Grant, Source
from cluster.replication.events import Appended, Ready, StreamLost, Taken
from cluster.replication.leader import PartitionLeader
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.replica_port import ReplicaDoors
from cluster.shell.replica_read import FileRead, Sent, is_in_memory, read_batches
from cluster.shell.replica_stream import ReplicaStream
from logstore.tail import ReadResult
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset, PartitionId

_NOTHING = ()


class _Sending(NamedTuple):
    """One grant: whom, what, and from where on."""

    stream: ReplicaStream
    grant: Grant[PartitionId]
    partition: HostedPartition
    leader: PartitionLeader
    start: Offset

    @property
    def is_current(self) -> bool:
        """This node leads still, in the same epoch, and the follower expects the same offset."""
        if self.partition.replica.leader is not self.leader:
            return False
        return self.leader.next_to_send(self.stream.node) == self.start


class ReplicaSender:
    """The sending side of all streams of a node. Loop only."""

    def __init__(
        self,
        doors: ReplicaDoors,
        find: Callable[[PartitionId], HostedPartition | None],
        *,
        ended: Callable[[ReplicaStream], bool],
        woken: Callable[[PartitionId], None],
    ) -> None:
        """Send partitions that `find` finds, on streams that have not `ended`.

        `woken` is called with one whose follower could not be sent what it needs.
        """
        self._doors = doors
        self._find = find
        self._ended = ended
        self._woken = woken

    def ready(self, stream: ReplicaStream, where: PartitionId) -> None:
        """Let a partition wait for its turn on a stream, in the row of its source."""
        partition = self._find(where)
        if partition is not None and partition.replica.leader is not None:
            offset = partition.replica.leader.next_to_send(stream.node)
            in_memory = is_in_memory(partition.log, offset)
            stream.sender.ready(where, Source.TAIL if in_memory else Source.FILES)

    def send(self, stream: ReplicaStream) -> None:
        """Send as long as there is room and something to send."""
        while not stream.broken and (grant := stream.sender.grant()) is not None:
            partition = self._find(grant.partition)
            leader = None if partition is None else partition.replica.leader
            if partition is None or leader is None:
                stream.sender.done(grant, 0)
                continue
            start = leader.next_to_send(stream.node)
            self._read(_Sending(stream, grant, partition, leader, start))

    def append_time(self) -> AppendTimeMs:
        """Return what the append clock reads."""
        clock = self._doors.clock
        return self._doors.append_clock.read(clock.monotonic_ms(), clock.wall_ms())

    def _read(self, sending: _Sending) -> None:
        stream, grant, partition, _, start = sending
        try:
            found = read_batches(partition.log, start, grant.max_bytes)
        except RequestError as refused:
            self._cannot(sending, refused)
            return
        if isinstance(found, Sent):
            self._go_out(sending, found)
        elif grant.source is Source.FILES:
            self._doors.read_pool.submit(
                found.job, partial(self._came, sending, found), partial(self._failed, sending)
            )
        else:  # it has left the memory while it stood in the row
            stream.sender.done(grant, 0)
            stream.sender.ready(grant.partition, Source.FILES)

    def _came(self, sending: _Sending, read: FileRead, found: ReadResult) -> None:
        """Send what the pool has read; go on with whoever waits."""
        if self._ended(sending.stream):
            return
        # Of a row that is lost here another member in sync has the right one; a lone one has not.
        alone = sending.leader.isr.maximal == {self._doors.node}
        try:
            sent = read.sent(found, guesses=alone)
        except RequestError as refused:
            self._cannot(sending, refused)
        else:
            self._go_out(sending, sent)
        self.send(sending.stream)

    def _failed(self, sending: _Sending, error: Exception) -> None:
        if not isinstance(error, RequestError):
            self._doors.storage_failed(error)
        elif not self._ended(sending.stream):
            self._cannot(sending, error)
            self.send(sending.stream)

    def _go_out(self, sending: _Sending, sent: Sent) -> None:
        """Put a frame on the stream, and the partition back into the row if there is more."""
        stream, grant, partition, leader, _ = sending
        if partition.replica.leader is not leader:
            stream.sender.done(grant, 0)
            return
        if not sending.is_current:  # it has opened anew: tell where the sending stands
            sent = Sent(leader.next_to_send(stream.node), 0, _NOTHING)
        now = self._doors.clock.monotonic_ms()
        leader.step(now, Appended(partition.log.log_end))  # this tick may have brought more
        taken = Taken(stream.node, sent.end, self.append_time())
        size, more = 0, False
        for effect in leader.step(now, taken):
            if isinstance(effect, Batches):
                # The core knows where whole batches begin, the follower is to begin where we do.
                header = effect._replace(log_start=partition.log.log_start)
                stream.say(encode_batches(grant.partition, header, sent.batches))
                size = sent.size_bytes
            elif isinstance(effect, Ready):
                more = True
        stream.sender.done(grant, size)
        if more:
            self.ready(stream, grant.partition)

    def _cannot(self, sending: _Sending, why: RequestError) -> None:
        """Let a follower ask again after a pause: what it needs cannot be read here, or not now."""
        stream, grant, partition, leader, _ = sending
        if why.code is ErrorCode.CORRUPT_LOG:
            self._doors.damaged(partition.log.id)
        stream.sender.done(grant, 0)
        if partition.replica.leader is leader:
            leader.step(self._doors.clock.monotonic_ms(), StreamLost(stream.node))
            self._woken(grant.partition)
            epoch = partition.leader_epoch
            refused = Refused(stream.node, epoch, ErrorCode.UNKNOWN_EPOCH)
            stream.say([encode(grant.partition, refused)])
