"""The machines of one internal topic on this node: whom to ask, and when an answer may leave.

Each partition of the topic that this node leads has a machine of its own; a name belongs to one
partition. The topic is created by the first change; until then everybody sees empty machines.

Partitions that other nodes lead have a standby here if a replica is here (`state_replica`); who
asks for one of their names is told the leader.

A node that stood still, or was cut off, may lead no more and not know it: its log has what was
committed by then, and another node commits more. A change that it decides is never acknowledged;
an answer that changes nothing waits for nobody, so it leaves only once the controllers have
confirmed that no other had taken over when it was asked for: refusals, plans, and changes of which
nothing is left to do. `look`, `tend` and the like are without that, for what a node does by itself.
"""

from asyncio import gather
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.port import QuorumPort
from cluster.controller.topics import CreateTopic
from cluster.peer.snapshot import AskState, StatePart
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.led_state import LedState
from cluster.shell.partitions import Partitions
from cluster.shell.shared_barrier import SharedBarrier
from cluster.shell.state_doors import StateDoors
from cluster.shell.state_replica import StateReplica, until_ready
from cluster.shell.watched_decision import WatchedDecision
from cluster.state_partition.layout import CONFIG, PARTITIONS, StateTopic, partition_of
from cluster.state_partition.machine import Machine
from logstore.recovery_report import Finding
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, NodeId
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
        self._barrier = SharedBarrier(quorum)
        self._doors = doors
        self._replicas: dict[int, StateReplica[MachineT, RecordT]] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._began: list[Callable[[int], None]] = []
        self._ended: list[Callable[[int], None]] = []
        quorum.subscribe(self._apply)

    async def restore(self) -> tuple[Finding, ...]:
        """Read snapshots and logs of all partitions that this node leads, before doors open.

        Where there are other nodes nobody waits: who asks meanwhile is told to ask again. Returns
        damaged snapshots that were done without.

        Raises:
            DirectoryRefused: records are missing, or of a newer release.
            StorageFailed: the disk refused.
        """
        damaged: list[Finding] = []
        if self.exists:
            for hosted in self._partitions.of_topic(self._topic.name):
                self._replicas[hosted.number] = self._replica(hosted)
        for replica in list(self._replicas.values()):
            replica.begin(fresh=False)
        for replica in list(self._replicas.values()):
            if replica.hosted.leads and self._doors.elsewhere is None:
                await until_ready(replica)
            damaged += replica.damaged
        return tuple(damaged)

    async def call(
        self, name: str, decide: Callable[[MachineT, AppendTimeMs], Result[RecordT, ResponseT]]
    ) -> ResponseT:
        """Have a change decided; answered when it is committed, and all that it rests on.

        `decide` runs on the loop before the first await, or, when the topic is not there yet, a
        second time once it is. It gets the machine that `name` belongs to, and the append time.
        What it refuses, or answers without records, is confirmed as a `read` is.

        Raises:
            RequestError: the decision's own refusal (committed is what it rests on); LIMIT_EXCEEDED
                (the change makes too large a batch), OVERLOADED, DISK_FULL, NOT_ENOUGH_REPLICAS,
                COORDINATOR_LOADING, NOT_COORDINATOR (with leader and leader_epoch): *not done*.
                LEADERSHIP_LOST, STORAGE_ERROR: *unknown*.
        """
        watched = WatchedDecision(decide)
        try:
            answer = await self.tend(name, watched)
        except RequestError as refusal:
            if refusal is watched.refusal:
                await self._confirm(name)
            raise
        if not watched.has_records:
            await self._confirm(name)
        return answer

    async def tend(
        self, name: str, decide: Callable[[MachineT, AppendTimeMs], Result[RecordT, ResponseT]]
    ) -> ResponseT:
        """Have a change decided as `call` does, for what this node does by itself.

        An answer that changes nothing, and a refusal, are confirmed by nobody.
        """
        if not self.exists and self._doors.elsewhere is not None:
            await self._quorum.read_barrier()  # another node may have made it, and answered
        if not self.exists:
            result = decide(self._topic.new_machine(), self._doors.intake.append_time())
            if not result.records:
                return result.response
            await self._create()
        return await self._led(partition_of(name)).ask(decide)

    async def read(self, name: str, view: Callable[[MachineT], ViewT]) -> ViewT:
        """Look at the machine that `name` belongs to; true as of when this was called, or later.

        Raises:
            RequestError: the view's own refusal; COORDINATOR_LOADING (also: nobody confirms now
                that this node coordinates it), NOT_COORDINATOR, LEADERSHIP_LOST, STORAGE_ERROR.
        """
        await self._confirm(name)
        return await self.look(name, view)

    async def look(self, name: str, view: Callable[[MachineT], ViewT]) -> ViewT:
        """Look at a machine as `read` does, for what this node does for those who are here.

        Nobody confirms it: another node may have taken over unheard, and changed it.
        """
        return await self.tend(name, lambda machine, _: Result((), view(machine)))

    async def each(
        self, decide: Callable[[MachineT, AppendTimeMs], Result[RecordT, ResponseT]]
    ) -> list[ResponseT]:
        """Have a change decided in every partition that this node leads; one answer for each.

        None as long as the topic is not there. Atomic for each partition by itself; the first
        refusal is raised when it comes, and the others are done all the same.
        """
        every = [replica.led for replica in self._replicas.values()]
        return await gather(*[led.ask(decide) for led in every if led is not None])

    async def read_each(self, view: Callable[[MachineT], ViewT]) -> list[ViewT]:
        """Look at every machine that leads here; one answer for each, none without topic.

        As `look`: nobody confirms it.
        """
        return await self.each(lambda machine, _: Result((), view(machine)))

    async def read_every(self, view: Callable[[MachineT], ViewT]) -> list[ViewT]:
        """Look at every machine that leads here, once it is confirmed what does, as by `read`.

        Raises:
            RequestError: COORDINATOR_LOADING: one that is to lead here is being read, or nobody can
                tell; and what `read_each` raises.
        """
        self.check_all_led()
        if self._doors.elsewhere is not None and not self._is_only_here:
            await self._barrier.confirmed(self._topic.name)
            self.check_all_led()
        return await self.read_each(view)

    async def read_in(self, number: int, view: Callable[[MachineT], ViewT]) -> ViewT:
        """Look at the machine of one partition; raises as `read`."""
        return await self._led(number).ask(lambda machine, _: Result((), view(machine)))

    @property
    def led(self) -> Sequence[int]:
        """The partitions that a machine of this node leads."""
        return [number for number, replica in self._replicas.items() if replica.led is not None]

    def leads(self, number: int) -> bool:
        """Tell whether a machine of this node leads a partition."""
        replica = self._replicas.get(number)
        return replica is not None and replica.led is not None

    def check_all_led(self) -> None:
        """Refuse who wants to see all that this node coordinates before it can tell.

        Raises:
            RequestError: COORDINATOR_LOADING.
        """
        elsewhere = self._doors.elsewhere
        if elsewhere is None:
            return
        for number, leader in enumerate(self.leaders):
            if leader == elsewhere.node and not self.leads(number):
                raise self._not_here(number)

    def check_leads_all(self) -> None:
        """Refuse who wants to see everything here while other nodes coordinate some of it.

        Raises:
            RequestError: NOT_COORDINATOR, COORDINATOR_LOADING.
        """
        for number in range(len(self.leaders)):
            self._led(number)

    def check_led(self, name: str) -> None:
        """Refuse a name that belongs to no machine here; of a topic that is not there none does.

        Raises:
            RequestError: NOT_COORDINATOR, COORDINATOR_LOADING.
        """
        if self.exists:
            self._led(partition_of(name))

    def leader_of(self, name: str) -> NodeId | None:
        """Return the node that coordinates what belongs to a name; None: none does now.

        A topic that is not there has no leaders, and anybody may create it.
        """
        topic = self._quorum.image.topics.get(self._topic.name)
        return None if topic is None else topic.partitions[partition_of(name)].leader

    @property
    def leaders(self) -> Sequence[NodeId | None]:
        """Who leads each partition, as far as is known here; nothing while the topic is absent."""
        topic = self._quorum.image.topics.get(self._topic.name)
        return () if topic is None else [row.leader for row in topic.partitions]

    @property
    def exists(self) -> bool:
        """Whether the topic is there, as far as is known here."""
        return self._topic.name in self._quorum.image.topics

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call with a name when records that matter were committed about it, after the answers."""
        self._listeners.append(listener)

    def follow_roles(
        self, *, began: Callable[[int], None], ended: Callable[[int], None] | None = None
    ) -> None:
        """Call with a partition's number when a machine here begins to lead it, and ends to.

        Called in the middle of that: what is asked of the machine is asked in a task.
        """
        self._began.append(began)
        if ended is not None:
            self._ended.append(ended)

    async def at_rest(self) -> None:
        """Return once every snapshot that was begun is durable, and what it freed is let go."""
        await self._doors.worker.run(lambda: None)

    def fail(self, failed: Exception) -> None:
        """The node cannot go on: whoever waits has an unknown outcome (P44)."""
        for replica in self._replicas.values():
            if replica.led is not None:
                replica.led.resign(RequestError(ErrorCode.STORAGE_ERROR, str(failed)))

    def replica(self, number: int) -> StateReplica[MachineT, RecordT] | None:
        """Return what this node is to a partition of the topic; None: it has no replica of it."""
        return self._replicas.get(number)

    def role_changed(self, hosted: HostedPartition) -> None:
        """Take note that this node has begun to lead a partition, or does not lead it any more."""
        replica = self._replicas.get(hosted.number)
        if replica is not None and replica.hosted is hosted:
            replica.role_changed()

    def serve(self, ask: AskState, answer: Callable[[StatePart | None], None]) -> bool:
        """Answer another replica that asks for a snapshot; False: of nothing that is here.

        `answer` gets None if there is none just now; ask again.
        """
        replica = self._replicas.get(ask.partition.number)
        if replica is None or replica.hosted.log.id != ask.partition:
            return False
        replica.serve(ask, answer)
        return True

    async def _confirm(self, name: str) -> None:
        """Return if this node coordinates a name, or nobody does yet, as of this call or later.

        Raises:
            RequestError: NOT_COORDINATOR; COORDINATOR_LOADING: it may not, or nobody can tell.
        """
        number = partition_of(name)
        if self._doors.elsewhere is None or not self.exists:
            return
        self._led(number)
        if self._replicas[number].hosted.only_here:
            return
        await self._barrier.confirmed(f"{self._topic.name}/{number}")
        self._led(number)

    @property
    def _is_only_here(self) -> bool:
        """The topic is there, and no partition of it has two replicas: none moves by itself."""
        topic = self._quorum.image.topics.get(self._topic.name)
        return topic is not None and all(len(row.replicas) < 2 for row in topic.partitions)

    def _led(self, number: int) -> LedState[MachineT, RecordT]:
        replica = self._replicas.get(number)
        led = None if replica is None else replica.led
        if led is None:
            raise self._not_here(number)
        return led

    def _not_here(self, number: int) -> RequestError:
        """Return what is told who asks for a name of a partition that has no machine here."""
        where = f"{self._topic.name}/{number}"
        try:
            self._partitions.get(self._topic.name, number).check_leads()
        except RequestError as refusal:
            if refusal.code is ErrorCode.NOT_LEADER:
                leader = refusal.metadata["leader"]
                return RequestError(
                    ErrorCode.NOT_COORDINATOR,
                    f"node {leader} coordinates what is in {where}; ask that one",
                    topic=self._topic.name,
                    partition=str(number),
                    leader=leader,
                    leader_epoch=refusal.metadata["leader_epoch"],
                )
            return RequestError(ErrorCode.COORDINATOR_LOADING, refusal.detail)
        replica = self._replicas.get(number)
        lacks = replica is not None and replica.lacks is not None
        why = "is not all on this node, which waits for another" if lacks else "is being read"
        return RequestError(ErrorCode.COORDINATOR_LOADING, f"{where} {why}; ask again")

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
        """Follow the topic's replicas on this node: those that are new have nothing in them."""
        rows = [*delta.created, *delta.changed]
        if any(topic.name == self._topic.name for topic in rows) or delta.deleted:
            self._follow()

    def _follow(self) -> None:
        here: dict[int, HostedPartition] = {}
        if self.exists:
            here = {one.number: one for one in self._partitions.of_topic(self._topic.name)}
        for number, replica in list(self._replicas.items()):
            if here.get(number) is replica.hosted:
                replica.look()
            else:
                del self._replicas[number]
                replica.close()
        for number, hosted in here.items():
            if number not in self._replicas:
                replica = self._replicas[number] = self._replica(hosted)
                log = hosted.log
                replica.begin(fresh=log.log_end == 0 and not log.upkeep.exists)

    def _replica(self, hosted: HostedPartition) -> StateReplica[MachineT, RecordT]:
        number = hosted.number
        role = partial(self._role, number)
        return StateReplica(self._topic, hosted, self._doors, tell=self._tell, role=role)

    def _role(self, number: int) -> None:
        for listener in self._began if self.leads(number) else self._ended:
            listener(number)

    def _tell(self, names: frozenset[str]) -> None:
        for name in sorted(names):
            for listener in self._listeners:
                listener(name)
