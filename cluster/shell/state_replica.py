"""One replica of an internal topic's partition: its machine, in whichever part this node plays.

A follower keeps a standby, which replays what is committed as it comes, so that taking over costs
the tail alone. A leader leads a machine that has seen its whole log, committed or not, and throws
it away with the leadership: what replaces it is had from the disk again. The machine of a standby
is a thread's while a job runs.

A replica whose log does not tell the whole state, because it began anew or a snapshot is damaged,
fetches the leader's snapshot; until it has it, it is held: it does not open its leader's log, so
that it does not come to be counted in sync. If it is chosen to lead all the same, because it is
still counted so or has the most complete log, it leads the log without a machine: nothing is
appended, and who asks for the state is told to ask again. Others come to be in sync by that, and
one of them is to lead in its place.

Invariants:
    STATE_ONE_JOB    a standby is in the hands of one job at a time.
"""

from asyncio import Future, get_running_loop
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

from cluster.peer.snapshot import AskState, StatePart
from cluster.shell.fetch_state import StateFetch
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.led_state import LedState
from cluster.shell.restore_state import (
    READ_BYTES,
    Extent,
    Opened,
    adopt,
    open_replica,
    open_state,
    replay,
)
from cluster.shell.state_doors import StateDoors
from cluster.shell.state_snapshots import StateSnapshots
from cluster.state_partition.layout import StateTopic
from cluster.state_partition.machine import Machine
from cluster.state_partition.standby import Standby, refused
from logstore.recovery_report import Finding
from model.errors import DirectoryExit, DirectoryRefused
from model.ids import MonotonicMs, Offset

HAND_OVER_AGAIN_MS: Final = 10_000
"""Between two leaderships that are handed over: who leads meanwhile may have the state by then."""

RecordT = TypeVar("RecordT")
MachineT = TypeVar("MachineT", bound=Machine[Any])


class StateReplica(Generic[MachineT, RecordT]):
    """See the module. It is the `LogCompanion` of its partition. Loop only."""

    __slots__ = (
        "_again_at", "_busy", "_doors", "_era", "_fetch", "_hands_over", "_log", "_reach", "_role",
        "_snapshots", "_standby", "_tell", "_topic", "_watching", "damaged", "failure", "held",
        "hosted", "lacks", "led", "ready", "replayed",
    )  # fmt: skip

    def __init__(
        self,
        topic: StateTopic[MachineT, RecordT],
        hosted: HostedPartition,
        doors: StateDoors,
        *,
        tell: Callable[[frozenset[str]], None],
        role: Callable[[], None],
    ) -> None:
        """Have nothing yet: `begin` follows. `tell` as with `LedState`.

        `role` is called when the machine has begun to lead, and when it is thrown away.
        """
        self._topic = topic
        self._doors = doors
        self._tell = tell
        self._role = role
        self._snapshots = StateSnapshots(topic, hosted, doors)
        self._standby: Standby[MachineT, RecordT] | None = None
        self._log = hosted.log
        self._era = 0
        """Of a standby: what jobs for the ones before it bring is of no use any more."""
        self._busy = False
        self._reach = Offset(0)
        """As far as the standby has seen the log, or will have when its job is done."""
        self._watching = False
        self._fetch: StateFetch | None = None
        self._hands_over = False
        """Others are asked to lead in its place."""
        self._again_at = MonotonicMs(0)
        """Before then no other leadership is handed over."""
        self.hosted = hosted
        self.led: LedState[MachineT, RecordT] | None = None
        """Whom to ask; None: this node does not lead, or has not read all of its log yet."""
        self.held = False
        """The replica is not to open its leader's log."""
        self.lacks: str | None = None
        """Why what was read last does not tell the state; None: it did, or none was read yet."""
        self.damaged: tuple[Finding, ...] = ()
        """Snapshots that were passed over."""
        self.replayed = 0
        """Records that were read from the log since the last snapshot was read."""
        self.ready: Callable[[], None] = _nobody
        """Called once, when the machine leads, or when `failure` tells why it never will."""
        self.failure: Exception | None = None
        if doors.elsewhere is not None:
            hosted.companion = self

    def begin(self, *, fresh: bool) -> None:
        """Have the machine restored; `fresh`: the log was just made, there is nothing to read."""
        if not fresh:
            self.held = True
            self._load()
            return
        self._standby = self._new()
        self._go_on()

    def role_changed(self) -> None:
        """This node has begun to lead, or does not lead any more."""
        if self.hosted.leads:
            self._go_on()
        elif self.led is not None or self._fetch is not None:
            self._resign()
            self._load()  # what is to be fetched may be another one, too: the log may be cut now
        elif self._standby is not None and self._reach > self.hosted.high_watermark:
            self._load()  # it has seen what may vanish with the leadership
        else:
            self._go_on()

    def look(self) -> None:
        """See what the metadata have made of this replica.

        If it is to lead, and lacks its state, another one in sync is to lead instead. Not time
        after time: two that lack it would hand over to each other without an end. Where there is
        none it leads, until one has come to be in sync by that.
        """
        elsewhere, said = self._doors.elsewhere, self.hosted.replica.assignment
        if elsewhere is None:
            return
        me, now = elsewhere.node, elsewhere.clock.monotonic_ms()
        if said.leader != me:
            if said.leader is not None and self._hands_over:
                self._hands_over, self._again_at = False, MonotonicMs(now + HAND_OVER_AGAIN_MS)
            return
        adopts = self._busy  # what came is being taken over, and may be the state
        if self._fetch is None or adopts or not (self._hands_over or now >= self._again_at):
            return
        # Round and round, each after another one: of several that lack it every other has a turn.
        others = sorted(said.isr - {me}, key=lambda node: (node < me, node))
        if others:
            self._hands_over = True
            elsewhere.hand_over(self.hosted, others)

    def close(self) -> None:
        """The replica is gone from this node."""
        self._discard()
        if self.hosted.companion is self:
            self.hosted.companion = None
        self._resign()

    def serve(self, ask: AskState, answer: Callable[[StatePart | None], None]) -> None:
        """Answer another replica that asks for a snapshot."""
        if self.led is None and self._standby is None:
            answer(None)  # what this one has is not known yet, or does not tell the state
            return
        if self.led is not None and ask.offset is not None:
            if (self._snapshots.newest or 0) < ask.offset:
                self.led.snapshot_now()
        self._snapshots.serve(ask, answer)

    # cluster.shell.log_companion.LogCompanion

    def leader_begins(self, log_start: Offset) -> None:
        """Let the log begin where the leader's does, as far as its state is on the disk here."""
        self._snapshots.leader_begins(log_start)

    def flushed(self) -> None:
        """Write what waited for this node's own disk: others may have committed it before."""
        self._snapshots.advance()

    def cut(self) -> None:
        """The log ends earlier than it did, or another one has taken its place."""
        log = self.hosted.log
        if log is not self._log:
            self.held = True
            self._discard()
            self._snapshots.found((), 0)
            if log.upkeep.exists:
                self._log = log
                self._load(begun_anew=True)
        elif max(self._reach, self._snapshots.newest or 0) > log.log_end:
            self.held = True
            self._snapshots.found((), 0)
            self._load()

    # How a standby comes to the end of its log.

    def _new(self) -> Standby[MachineT, RecordT]:
        return Standby(self._topic, self.hosted.log.directory_name)

    def _discard(self) -> None:
        self._era += 1
        self._standby = None
        self._busy = False
        self._reach = Offset(0)
        self._snapshots.forget()
        if self._watching:
            self._watching = False
            self.hosted.unwatch(self._woken)
        if self._fetch is not None:
            self._fetch.stop()
            self._fetch = None

    def _load(self, *, begun_anew: bool = False) -> None:
        """Begin with what the disk has."""
        self._discard()
        disk, extent, standby = self._doors.disk, self._extent(), self._new()
        self._reach = extent.log_end
        if self._doors.elsewhere is None:
            self._do(partial(open_state, standby, extent, disk=disk), self._opened)
        else:
            job = partial(open_replica, standby, extent, disk=disk, begun_anew=begun_anew)
            self._do(job, self._opened)

    def _extent(self) -> Extent:
        log = self.hosted.log
        return Extent(log.id, log.log_start, log.log_end)

    def _opened(self, opened: Opened[MachineT, RecordT] | None) -> None:
        """Go on with what was read, or have it fetched."""
        if opened is None:
            assert self._fetch is not None, "STATE_ONE_JOB"
            self._fetch.again()
            return
        self.damaged = opened.damaged
        if opened.lacks is not None:
            self._lacks(opened.lacks, at_least=self.hosted.log_start)
            return
        if self._fetch is not None:
            self._fetch.stop()
            self._fetch = None
        self._standby = opened.standby
        self._reach = opened.standby.at
        self._snapshots.found(opened.kept, opened.held)
        if self.lacks is None:
            self._release()
        self._go_on()  # what it lacked may lie behind the snapshot: it is seen first

    def _release(self) -> None:
        """Let the replica follow if it was held."""
        self.lacks, elsewhere = None, self._doors.elsewhere
        if self.held and elsewhere is not None:
            self.held = False
            self.hosted.replica.go_on(elsewhere.clock.monotonic_ms())

    def _lacks(self, why: str, *, at_least: Offset) -> None:
        """Have a snapshot fetched that reaches so far, if there can be one elsewhere."""
        elsewhere = self._doors.elsewhere
        if elsewhere is None or self.hosted.only_here:
            self._fail(refused(why))
            return
        self.held, self.lacks = True, why
        elsewhere.lacking(self.hosted, why)
        self._fetch = StateFetch(
            self.hosted, elsewhere, self._fetched, nobody=self.look, at_least=at_least
        )
        self.look()

    def _fetched(self, file: bytes) -> None:
        job = partial(adopt, self._new(), self._extent(), file, disk=self._doors.disk)
        self._do(job, self._opened)

    def _do(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Have a job done for the standby that is being made or goes on."""
        assert not self._busy, "STATE_ONE_JOB"
        self._busy = True
        era = self._era

        def ended(result: Any) -> None:
            if era == self._era:
                self._busy = False
                done(result)

        def failed(error: Exception) -> None:
            if era == self._era:
                self._refused(error)

        self._doors.worker.submit(job, ended, failed)

    def _refused(self, error: Exception) -> None:
        """A job has failed: damage that the leader's snapshot goes beyond is no end."""
        damage = isinstance(error, DirectoryRefused) and error.exit_code is DirectoryExit.FAILED
        if not damage or self._doors.elsewhere is None:
            self._fail(error)
            return
        at = self._reach if self._standby is None else self._standby.at + 1
        self._discard()
        self._lacks(str(error), at_least=max(Offset(at), self.hosted.log_start))

    def _go_on(self) -> None:
        """Replay what there is to replay: all if this node leads, else what is committed."""
        standby, hosted = self._standby, self.hosted
        if standby is None or self._busy:
            return
        log, leads = hosted.log, hosted.leads
        end = log.log_end if leads else min(hosted.high_watermark, log.log_end)
        if standby.at < log.log_start:
            self._refused(standby.unreadable(f"the log begins at {log.log_start}"))
        elif standby.at < end:
            self._reach = end
            found = log.read(standby.at, READ_BYTES, end=end)
            self._do(partial(replay, standby, found, end), self._replayed)
        elif leads:
            self._lead(standby)
        else:
            self._stand_by(standby)

    def _replayed(self, standby: Standby[MachineT, RecordT]) -> None:
        self.replayed = standby.replayed
        self._go_on()

    def _stand_by(self, standby: Standby[MachineT, RecordT]) -> None:
        """Write a snapshot if it is time; wait for more."""
        self._release()
        self._snapshots.consider(standby.at, standby.freeze)
        self._snapshots.advance()
        if not self._watching:
            self._watching = True
            self.hosted.watch(self.hosted.high_watermark, self._woken)

    def _woken(self) -> None:
        self._watching = False
        self._go_on()

    def _lead(self, standby: Standby[MachineT, RecordT]) -> None:
        log_end = self.hosted.log.log_end
        if standby.at > log_end:
            where = self._log.directory_name
            self._fail(refused(f"{where}: a snapshot at {standby.at}, the log ends at {log_end}"))
            return
        self._release()
        self._discard()
        led = LedState(
            self._topic, self.hosted, self._doors, snapshots=self._snapshots, tell=self._tell
        )
        led.lead(standby.machine, end=standby.at)
        self.led = led
        self._told()
        self._role()

    def _resign(self) -> None:
        """Throw the machine away that led, if one did: it may have seen what will vanish."""
        led, self.led = self.led, None
        if led is not None:
            led.resign()
            self._role()

    def _fail(self, error: Exception) -> None:
        """This replica cannot have its state. Whoever waits is told, else the node ends."""
        self._discard()
        self.failure = error
        if self.ready is _nobody:
            self._doors.failed(error)
        else:
            self._told()

    def _told(self) -> None:
        ready, self.ready = self.ready, _nobody
        ready()


def _nobody() -> None:
    """Nobody waits for it."""


async def until_ready(replica: StateReplica[Any, Any]) -> None:
    """Wait until a machine leads.

    Raises:
        DirectoryRefused, StorageFailed: why it never will.
    """
    if replica.led is None and replica.failure is None:
        waiting: Future[None] = get_running_loop().create_future()
        replica.ready = partial(_set, waiting)
        await waiting
    if replica.failure is not None:
        raise replica.failure


def _set(waiting: "Future[None]") -> None:
    if not waiting.done():  # who waits may have gone
        waiting.set_result(None)
