"""One member of the controller quorum at work: core, machine, disk and time in one row of turns.

What has happened is noted, and at the end of the tick the core is told of it and asked what to do;
`cluster.raft.node` says in which order that is done. A turn is plain code: nothing in it waits.
A quorum of this node alone has no timer.
"""

from asyncio import Event
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Protocol

from cluster.raft.entry_log import DIRECTORY
from cluster.raft.log_file import SUFFIX
from cluster.raft.messages import Heartbeat, Message
from cluster.raft.ready import Ready
from cluster.raft.snapshot import decode as decode_snapshot
from cluster.settings import ClusterSettings
from cluster.shell.raft_disk import RaftDisk
from cluster.shell.raft_doors import Doors
from cluster.shell.raft_metadata import Published
from cluster.shell.raft_opening import AMONG_OTHERS, OpenedMember
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import Index, MonotonicMs, NodeId, Term

TICK_MS: Final = 100
"""The core's unit of time: heartbeats and elections come after some of them."""


class EntriesForgotten(DirectoryRefused):
    """This member has acknowledged entries that its directory does not hold any more.

    The end of the log was damaged or lost, or the directory is an older copy of itself: that is
    for whoever registers the node to tell. It has no voice in the quorum from here on.
    """


class QuorumLeader(NamedTuple):
    """Who leads the quorum, as far as this member knows."""

    term: Term
    node: NodeId | None
    leads: bool
    """This member does, and has applied all that was decided before: it may decide."""


class MemberEvents(Protocol):
    """What a turn has brought, for those who wait and listen; called within the turn."""

    def published(self, step: Published) -> None:
        """Take the next step of the committed metadata."""
        ...

    def reads_end(self, ready: Ready) -> None:
        """Answer `reads` and refuse `lost_reads`; what they need was published or will be."""
        ...

    def stepped_down(self) -> None:
        """Refuse those whose entries may never be committed: this member does not lead now."""
        ...

    def ticked(self) -> None:
        """Look again at what takes a while."""
        ...

    def leader_changed(self, leader: QuorumLeader) -> None:
        """Tell those who listen."""
        ...


class RaftMember:
    """See the module. Loop only."""

    def __init__(
        self, doors: Doors, settings: ClusterSettings, opened: OpenedMember, *, events: MemberEvents
    ) -> None:
        """Go on where the files were opened."""
        self.node, self.metadata = opened.node, opened.metadata
        self._doors, self._settings, self._events = doors, settings, events
        self._wake = Event()
        self._wake.set()  # the first turn sets the timer
        self._disk = RaftDisk(opened.storage, doors.run_blocking, ended=self._wake.set)
        snapshot = self.node.log.snapshot
        self._snapshot_index = Index(0 if snapshot is None else snapshot.last_index)
        self._snapshotting = False
        self._happened: list[Callable[[], None]] = []
        self._tick_is_due = False
        self._tick_at = MonotonicMs(0)
        self._cancel_tick: Callable[[], None] | None = None
        self._leading = self.node.leadership
        self._sure_at = self.node.log.last_index
        """With this entry, all that was decided before this leadership is applied."""
        self._told = self.leader_now
        self.broken = False
        """The machine is not what any log says."""

    @property
    def leads(self) -> bool:
        """Whether this member leads and has applied all that was decided before: it may decide."""
        return self._leading is not None and self.metadata.image.applied >= self._sure_at

    @property
    def leader_now(self) -> QuorumLeader:
        """Who leads, as far as is known."""
        leader = self.node.leader
        return QuorumLeader(self.node.term, None if leader is None else leader.node, self.leads)

    @property
    def is_idle(self) -> bool:
        """Whether the disk has done everything."""
        return self._disk.is_idle

    # From outside a turn.

    def wake(self) -> None:
        """Ask for a turn: the core was asked for something."""
        self._wake.set()

    async def woken(self) -> None:
        """Return when there is reason for a turn."""
        await self._wake.wait()
        self._wake.clear()

    def take(self, message: Message) -> None:
        """Note a message that came."""
        self._happened.append(partial(self._step, message))
        self._wake.set()

    def peer_gone(self, node: NodeId) -> None:
        """Note that a node's process has ended."""
        self._happened.append(partial(self._tell_gone, node))
        self._wake.set()

    def break_down(self) -> None:
        """Decide and say nothing any more; what the disk has begun comes to its end."""
        self.broken = True
        self._wake.set()

    def close(self) -> None:
        """Stop the timer, and let go of the files."""
        self._stop_ticks()
        self._disk.close()

    # A turn.

    def turn(self) -> None:
        """Tell the core what has happened, and do what it wants done.

        Raises:
            OSError: the disk refused; nobody knows what is durable.
            DirectoryRefused: what was committed cannot be read here; EntriesForgotten.
        """
        self._finish_job()
        if not self.broken:
            self._take_events()
            self.metadata.freeze_ahead()
            ready = self.node.ready()
            if ready is not None:
                self._do(ready)
                if ready.more:
                    self._wake.set()  # when the loop has had its turn
            self._tell_leader()
            self._snapshot_if_due()
            self._set_timer()
        self._disk.begin()

    def _finish_job(self) -> None:
        job = self._disk.finished()
        if job is None or self.broken:
            return
        if job.work is not None:
            self.node.persisted(job.work.durable)
            self._look()
        for message in job.messages:
            self._send(message)
        if job.kept is not None:
            self.node.compact(job.kept)
            self._snapshot_index = max(self._snapshot_index, job.kept.last_index)
            self._snapshotting = False

    def _take_events(self) -> None:
        happened, self._happened = self._happened, []
        for tell in happened:
            tell()
            self._look()
        if self._tick_is_due:
            self._tick_is_due = False
            self.node.tick()
            self._look()
            self._events.ticked()

    def _step(self, message: Message) -> None:
        """Take a message in, unless it proves that this member has forgotten what it had said."""
        node, last = self.node, self.node.log.last_index
        if isinstance(message, Heartbeat) and message.to == node.me and message.term >= node.term:
            if message.commit > last:  # it is no more than this member has acknowledged (P15)
                raise EntriesForgotten(
                    DirectoryExit.FAILED,
                    f"{DIRECTORY}/*{SUFFIX} ends at entry {last}, and node {message.source.node}, "
                    f"which leads the quorum, was told of entry {message.commit} by this one: the "
                    f"end was damaged or lost: {AMONG_OTHERS}",
                )
        node.step(message)

    def _tell_gone(self, node: NodeId) -> None:
        for member in self.node.configuration.members:
            if member.node == node:
                self.node.peer_gone(member)

    def _do(self, ready: Ready) -> None:
        """Do what a Ready says, in its order."""
        now = ready.at_once
        if ready.work is not None:
            self._disk.put(ready.work, ready.when_durable)
        elif self._disk.has_work:
            self._disk.wait(ready.when_durable)
        else:
            now += ready.when_durable
        for message in now:
            self._send(message)
        if ready.restored is not None:
            index = ready.restored.last_index
            payload = decode_snapshot(ready.restored.content).payload
            self._events.published(self.metadata.restore(payload, index))
            self._snapshot_index = index
        for step in self.metadata.apply(ready.committed):
            self._events.published(step)
        self._events.reads_end(ready)

    def _send(self, message: Message) -> None:
        if self._doors.send is not None:
            self._doors.send(message)

    # Leadership.

    def _look(self) -> None:
        """See whether a leadership has begun or ended."""
        leading = self.node.leadership
        if leading is self._leading:
            return
        before, self._leading = self._leading, leading
        if before is not None:
            self._step_down()
        if leading is not None:
            self._sure_at = self.node.log.last_index

    def _step_down(self) -> None:
        """Forget what may never be committed; what is committed stays."""
        self._events.stepped_down()
        start = Index(self.metadata.image.applied + 1)
        given = self.node.log.read(start, Index(self.node.delivered + 1))
        for step in self.metadata.abandon(given):
            self._events.published(step)

    def _tell_leader(self) -> None:
        now = self.leader_now
        if now != self._told:
            self._told = now
            self._events.leader_changed(now)

    # Snapshots and time.

    def _snapshot_if_due(self) -> None:
        image, settings = self.metadata.image, self._settings
        behind = image.applied - self._snapshot_index
        is_due = (
            behind >= settings.quorum_snapshot_entries
            or self.metadata.bytes_since_snapshot >= settings.quorum_snapshot_bytes
        )
        if is_due and behind and not self._snapshotting:
            self._snapshotting = True
            self.metadata.bytes_since_snapshot = 0
            self._disk.put_snapshot(self.node.snapshot_at(image.applied, b""), image)

    def _set_timer(self) -> None:
        """Set the next tick. Those that a stall of the loop has missed do not count."""
        if self.node.configuration.members == (self.node.me,):
            self._stop_ticks()
        elif self._cancel_tick is None:
            now = self._doors.clock.monotonic_ms()
            at = MonotonicMs(self._tick_at + TICK_MS)
            self._tick_at = at if now < at <= now + TICK_MS else MonotonicMs(now + TICK_MS)
            self._cancel_tick = self._doors.clock.call_at(self._tick_at, self._tick)

    def _tick(self) -> None:
        self._cancel_tick = None
        self._tick_is_due = True
        self._wake.set()

    def _stop_ticks(self) -> None:
        if self._cancel_tick is not None:
            self._cancel_tick()
            self._cancel_tick = None
