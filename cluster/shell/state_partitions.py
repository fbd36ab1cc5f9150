"""The machines of one internal topic on this node: whom to ask, and when an answer may leave.

Each partition of the topic that this node leads has a machine of its own; a name belongs to one
partition. The topic is created by the first change; until then everybody sees empty machines.
"""

from asyncio import gather
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.port import QuorumPort
from cluster.controller.topics import CreateTopic
from cluster.shell.led_state import LedState, StateDoors
from cluster.shell.partitions import Partitions
from cluster.shell.restore_state import restore
from cluster.state_partition.layout import CONFIG, PARTITIONS, StateTopic, partition_of
from cluster.state_partition.machine import Machine
from logstore.recovery_report import Finding
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset
from model.result import Result

RecordT = TypeVar("RecordT")
MachineT = TypeVar("MachineT", bound=Machine[Any])
ResponseT = TypeVar("ResponseT")
ViewT = TypeVar("ViewT")


class StatePartitions(Generic[MachineT, RecordT]):
    """The coordinators of one internal topic. Loop only."""

    def __init__(
        self,
        topic: StateTopic[MachineT, RecordT],
        partitions: Partitions,
        *,
        quorum: QuorumPort,
        doors: StateDoors,
    ) -> None:
        """Follow the topic's partitions on this node, once `restore` has read what is there."""
        self._topic = topic
        self._partitions = partitions
        self._quorum = quorum
        self._doors = doors
        self._led: dict[int, LedState[MachineT, RecordT]] = {}
        self._listeners: list[Callable[[str], None]] = []
        quorum.subscribe(self._apply)

    async def restore(self) -> tuple[Finding, ...]:
        """Read snapshots and logs of all partitions that this node leads, before doors open.

        Returns damaged snapshots that were done without.

        Raises:
            DirectoryRefused: records are missing, or of a newer release.
            StorageFailed: the disk refused.
        """
        damaged: list[Finding] = []
        if self._exists:
            doors = self._doors
            for hosted in self._partitions.of_topic(self._topic.name):
                found = await restore(self._topic, hosted, disk=doors.disk, run=doors.worker.run)
                damaged += found.damaged
                led = LedState(self._topic, hosted, doors, tell=self._tell)
                led.lead(found.machine, end=found.end, kept=found.kept, held=found.held)
                self._led[hosted.number] = led
        return tuple(damaged)

    async def call(
        self, name: str, decide: Callable[[MachineT, AppendTimeMs], Result[RecordT, ResponseT]]
    ) -> ResponseT:
        """Have a change decided; answered when it is committed, and all that it rests on.

        `decide` runs on the loop before the first await, or, when the topic is not there yet, a
        second time once it is. It gets the machine that `name` belongs to, and the append time.

        Raises:
            RequestError: the decision's own refusal (committed is what it rests on); LIMIT_EXCEEDED
                (the change makes too large a batch), OVERLOADED, DISK_FULL, NOT_ENOUGH_REPLICAS,
                COORDINATOR_LOADING: *not done*. LEADERSHIP_LOST, STORAGE_ERROR: *unknown*.
        """
        if not self._exists:
            result = decide(self._topic.new_machine(), self._doors.intake.append_time())
            if not result.records:
                return result.response
            await self._create()
        return await self._of(name).ask(decide)

    async def read(self, name: str, view: Callable[[MachineT], ViewT]) -> ViewT:
        """Look at the machine that `name` belongs to; true as of when this was called, or later.

        Raises:
            RequestError: the view's own refusal; COORDINATOR_LOADING, LEADERSHIP_LOST,
                STORAGE_ERROR.
        """
        return await self.call(name, lambda machine, _: Result((), view(machine)))

    async def each(
        self, decide: Callable[[MachineT, AppendTimeMs], Result[RecordT, ResponseT]]
    ) -> list[ResponseT]:
        """Have a change decided in every partition that this node leads; one answer for each.

        None as long as the topic is not there. Atomic for each partition by itself; the first
        refusal is raised when it comes, and the others are done all the same.
        """
        return await gather(*[led.ask(decide) for led in self._led.values()])

    async def read_each(self, view: Callable[[MachineT], ViewT]) -> list[ViewT]:
        """Look at every machine that this node hosts; one answer for each, none without topic."""
        return await self.each(lambda machine, _: Result((), view(machine)))

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call with a name when records that matter were committed about it, after the answers."""
        self._listeners.append(listener)

    async def at_rest(self) -> None:
        """Return once every snapshot that was begun is durable, and what it freed is let go."""
        await self._doors.worker.run(lambda: None)

    def fail(self, failed: Exception) -> None:
        """The node cannot go on: whoever waits has an unknown outcome (P44)."""
        for led in self._led.values():
            led.resign(RequestError(ErrorCode.STORAGE_ERROR, str(failed)))

    @property
    def _exists(self) -> bool:
        return self._topic.name in self._quorum.image.topics

    def _of(self, name: str) -> LedState[MachineT, RecordT]:
        led = self._led.get(partition_of(name))
        if led is None:
            raise RequestError(
                ErrorCode.COORDINATOR_LOADING, f"{self._topic.name} is being read at a start"
            )
        return led

    async def _create(self) -> None:
        """Create the topic; of several who find it absent, one does."""
        request = CreateTopic(
            name=self._topic.name, partitions=PARTITIONS, config=CONFIG, internal=True
        )
        try:
            await self._quorum.propose(request)
        except RequestError as refusal:
            if refusal.code is not ErrorCode.TOPIC_ALREADY_EXISTS:
                raise

    def _apply(self, _: MetadataImage, delta: MetadataDelta) -> None:
        """Lead the partitions of the topic when it is created: with nothing in them."""
        for topic in delta.created:
            if topic.name == self._topic.name:
                for hosted in self._partitions.of_topic(topic.name):
                    led = LedState(self._topic, hosted, self._doors, tell=self._tell)
                    led.lead(self._topic.new_machine(), end=Offset(0))
                    self._led[hosted.number] = led

    def _tell(self, names: frozenset[str]) -> None:
        for name in sorted(names):
            for listener in self._listeners:
                listener(name)
