"""This node as the controller knows it: registered, heard of, held, and leaving in order.

    client = ControllerClient(doors, calls)
    broker = await client.register(start)       before anything is hosted; heartbeats from then on
    client.session_held()                       what followers and leaders are judged by
    await client.until_not_missed(...)          before it leaves: others may be about to catch up
    await client.leave(patience_ms=)            its leaderships go to others
    await client.last_word()                    it has stopped in order

Registering waits for a controller for as long as it takes. It ends with an exit code where
`cluster.controller.registration` says that this node does not belong here; a node whose id another
one seems to hold asks for one session's time and two heartbeats, since that one may be dead.
"""

from dataclasses import dataclass
from typing import Final

from cluster.controller.brokers import RegisterBroker
from cluster.controller.departure import would_be_missed
from cluster.controller.feature_level import SUPPORTED
from cluster.controller.image import BrokerImage, Endpoint, FeatureLevels, Standing
from cluster.controller.leadership import ElectPreferred
from cluster.controller.proposed_frames import Proposed
from cluster.controller.registration import Barrier, RegistrationRefused
from cluster.controller.request_frames import BrokerHeartbeat
from cluster.controller.sessions import Heard
from cluster.controller.standing import SetStanding
from cluster.shell.controller_calls import ControllerCalls
from cluster.shell.controller_doors import ControllerDoors, pause
from cluster.shell.raft_member import TICK_MS
from model.errors import DirectoryRefused, RequestError
from model.ids import MonotonicMs, RegistrationEpoch

ANSWER_MS: Final = 5_000
"""For a change of metadata: longer than a quorum needs to elect, and to decide."""
LEAVE_AGAIN_MS: Final = 100
"""Between two looks at what a stopping node still leads."""
JUDGED_AGAIN_MS: Final = 50
"""Between two looks at whether the registration is answered."""
LAST_WORD_MS: Final = 2_000
"""For the last word; who hears none fences the node by proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """What a node says of itself when it registers, beside what its links say."""

    remembered: RegistrationEpoch
    """The highest epoch that the directory's identity knows."""
    clean: bool
    endpoints: tuple[Endpoint, ...]
    """For clients and, under PEER_LISTENER, for other nodes."""
    rack: str | None = None
    version: str = ""
    levels: FeatureLevels = SUPPORTED


class ControllerClient:
    """See the module. Loop only.

    Invariants:
        CLIENT_REGISTERED   who is not registered has no epoch to speak under.
    """

    def __init__(self, doors: ControllerDoors, calls: ControllerCalls) -> None:
        """Not registered yet."""
        self._doors = doors
        self._calls = calls
        self._starting: Starting | None = None
        self._remembered = RegistrationEpoch(0)
        self._epoch: RegistrationEpoch | None = None
        self._held_until = MonotonicMs(0)
        self._stopping = False
        self._is_refused = False
        self._is_replaced = False
        """A later process has this node's id: what is said under it would be said for that one."""

    @property
    def registration_epoch(self) -> RegistrationEpoch:
        """Under which this node speaks; there once it is registered."""
        assert self._epoch is not None, "CLIENT_REGISTERED"
        return self._epoch

    async def register(self, starting: Starting) -> BrokerImage:
        """Return the registration, once the directory remembers it and this node's image has it.

        The controller is told from then on that this node is there. Called once.

        Raises:
            DirectoryRefused: this node does not belong here; with the exit code.
            StorageFailed: the identity could not be written.
        """
        self._starting = starting
        self._remembered = max(self._remembered, starting.remembered)
        broker = await self._register()
        self._doors.note(
            "broker_registered", broker=broker.node, registration_epoch=broker.registration_epoch
        )
        self._doors.spawn.start(self._heartbeats(), "broker heartbeats")
        while True:  # what this node hosts is in the image
            try:
                await self._doors.quorum.read_barrier()
            except RequestError as refused:
                if not refused.code.retryable:
                    raise
            known = self._doors.quorum.image.brokers.get(broker.node)
            if known is not None and known.registration_epoch >= broker.registration_epoch:
                return broker
            await pause(self._doors.clock, LEAVE_AGAIN_MS)

    async def is_refused(self, *, patience_ms: int) -> bool:
        """Tell whether the controller has refused this node; False also if it says nothing yet."""
        clock = self._doors.clock
        until = clock.monotonic_ms() + patience_ms
        while self._epoch is None and not self._is_refused and clock.monotonic_ms() < until:
            await pause(clock, JUDGED_AGAIN_MS)
        return self._is_refused

    def session_held(self) -> bool:
        """Tell whether the controller counts this node among the living, as far as is known.

        Counted from when the heartbeat left that was answered last: never longer than there.
        """
        return self._doors.clock.monotonic_ms() < self._held_until

    async def set_standing(self, standing: Standing, *, patience_ms: int = ANSWER_MS) -> int:
        """Change what this node may do; return how many partitions it still leads.

        Raises:
            RequestError: there was no controller for as long as that.
        """
        asked = SetStanding(
            nodes=((self._doors.me.node, self.registration_epoch),), standing=standing
        )
        counted = await self._calls.until(
            asked, patience_ms=patience_ms, timeout_ms=patience_ms, twice=True
        )
        assert isinstance(counted, int), "CONTROLLER_ANSWERS_ITS_TYPES"
        return counted

    async def until_not_missed(self, *, patience_ms: int) -> bool:
        """Wait for replicas that are about to catch up; tell whether nothing rests on this node.

        See `cluster.controller.departure`.
        """
        clock, quorum, me = self._doors.clock, self._doors.quorum, self._doors.me.node
        until = clock.monotonic_ms() + patience_ms
        while not self._is_replaced and would_be_missed(quorum.image, me):
            if clock.monotonic_ms() >= until:
                return False
            await pause(clock, LEAVE_AGAIN_MS)
        return True

    async def leave(self, *, patience_ms: int) -> int:
        """Hand leaderships over; return how many are left when nothing is, or patience ends."""
        clock = self._doors.clock
        until = clock.monotonic_ms() + patience_ms
        left = -1
        while left != 0 and not self._is_replaced and (now := clock.monotonic_ms()) < until:
            try:
                left = await self.set_standing(Standing.STOPPING, patience_ms=until - now)
            except RequestError as refused:
                self._doors.note("controller_not_taken", error=str(refused))
            if left != 0:
                await pause(clock, LEAVE_AGAIN_MS)
        return left

    async def last_word(self) -> bool:
        """Say that this node has stopped in order, and be silent; tell whether it was heard."""
        self._stopping = True
        if self._is_replaced:
            return False
        asked = SetStanding(
            nodes=((self._doors.me.node, self.registration_epoch),), standing=Standing.STOPPED
        )
        try:
            await self._calls.until(
                asked, patience_ms=LAST_WORD_MS, timeout_ms=LAST_WORD_MS, twice=True
            )
        except RequestError as refused:
            self._doors.note("controller_not_taken", error=str(refused))
            return False
        return True

    async def elect_preferred(self) -> int:
        """Give leaderships back to preferred leaders; return how many moved, 100 at most.

        Raises:
            RequestError: there was no controller for ANSWER_MS.
        """
        told = await self._calls.until(
            ElectPreferred(), patience_ms=ANSWER_MS, timeout_ms=ANSWER_MS, twice=True
        )
        assert isinstance(told, Proposed) and isinstance(told.outcome, int), (
            "CONTROLLER_ANSWERS_ITS_TYPES"
        )
        return told.outcome

    # Registration.

    async def _register(self) -> BrokerImage:
        starting, me = self._starting, self._doors.me
        assert starting is not None, "CLIENT_REGISTERED"
        before = self._remembered
        self._remembered = RegistrationEpoch(before + 1)
        await self._doors.remember(self._remembered)
        request = RegisterBroker(
            node=me.node,
            directory=me.directory,
            clean=starting.clean,
            endpoints=starting.endpoints,
            rack=starting.rack,
            version=starting.version,
            cluster_id=me.cluster_id,
            remembered=self._remembered,
            incarnation=me.incarnation,
            levels=starting.levels,
        )
        sent_at = self._doors.clock.monotonic_ms()
        try:
            broker = await self._registered(request)
        except DirectoryRefused:
            # Else an older copy of a directory would be let in once it has asked often enough.
            self._remembered, self._is_refused = before, True
            await self._doors.remember(before)
            raise
        if broker.registration_epoch > self._remembered:
            self._remembered = broker.registration_epoch
            await self._doors.remember(self._remembered)
        self._epoch = broker.registration_epoch
        self._held_until = MonotonicMs(sent_at + self._held_ms())
        return broker

    def _held_ms(self) -> int:
        """Return for how long an answer of the controller is good.

        Who asks itself may have been cut off from the others for as long as a leader of the quorum
        needs to find that.
        """
        settings = self._doors.settings
        if self._doors.quorum.leader != self._doors.me.node:
            return settings.broker_session_ms
        cut_off_ms = settings.quorum_election_ticks * TICK_MS
        return max(settings.broker_session_ms - cut_off_ms, 2 * settings.broker_heartbeat_ms)

    async def _registered(self, request: RegisterBroker) -> BrokerImage:
        """Ask until it is answered, or refused for good."""
        settings, clock = self._doors.settings, self._doors.clock
        patience_ms = settings.broker_session_ms + 2 * settings.broker_heartbeat_ms
        refused_at: MonotonicMs | None = None
        while True:
            try:
                broker = await self._calls.until(
                    request, patience_ms=None, timeout_ms=ANSWER_MS, twice=True
                )
            except RegistrationRefused as refused:
                now = clock.monotonic_ms()
                refused_at = now if refused_at is None else refused_at
                passes = refused.barrier is Barrier.DUPLICATE_ID
                if not passes or now - refused_at >= patience_ms:
                    raise DirectoryRefused(refused.exit_code, refused.detail) from refused
                await pause(clock, settings.broker_heartbeat_ms)
                continue
            assert isinstance(broker, BrokerImage), "CONTROLLER_ANSWERS_ITS_TYPES"
            return broker

    # Heartbeats.

    async def _heartbeats(self) -> None:
        settings, clock = self._doors.settings, self._doors.clock
        while not self._stopping:
            begun = clock.monotonic_ms()
            try:
                heard = await self._beat(begun)
            except RequestError:
                heard = None  # its session tells, if it lasts
            if heard in {Heard.STOPPED, Heard.REPLACED}:
                return
            passed = clock.monotonic_ms() - begun
            wait_ms = settings.broker_heartbeat_ms - passed
            # One that was not answered is repeated sooner: it may have gone to the wrong node.
            await pause(clock, max(wait_ms, 0) if heard else min(max(wait_ms, 0), LEAVE_AGAIN_MS))

    async def _beat(self, now: MonotonicMs) -> Heard:
        """Send one heartbeat, and do what its answer says."""
        settings, me = self._doors.settings, self._doors.me
        date, append_time = self._doors.clock.wall_ms(), self._doors.append_time()
        beat = BrokerHeartbeat(me.node, self.registration_epoch, date, append_time)
        heard = await self._calls.once(beat, timeout_ms=settings.broker_heartbeat_ms)
        assert isinstance(heard, Heard), "CONTROLLER_ANSWERS_ITS_TYPES"
        match heard:
            case Heard.FINE:
                self._held_until = MonotonicMs(now + self._held_ms())
            case Heard.UNFENCE | Heard.STOPPED:
                self._held_until = MonotonicMs(0)
            case Heard.REGISTER:
                self._held_until = MonotonicMs(0)
                await self._again()
            case Heard.REPLACED:
                self._held_until = MonotonicMs(0)
                self._is_replaced = True
                self._doors.replaced(
                    f"a later process has registered as node {me.node}: this one ends; see that "
                    "only one is started with this id"
                )
        return heard

    async def _again(self) -> None:
        """Register anew: the cluster knows nothing of this process any more."""
        try:
            await self._register()
        except DirectoryRefused as refused:
            self._doors.replaced(refused.detail)
