"""Three nodes' worth of coordinators, over the replicas of `tests.replica_cluster`.

Everything from `StatePartitions` down is the node's own; what asks for snapshots goes through its
frames. The topic has one partition, which "billing" and the other names of `GROUPS` belong to.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from cluster.controller.configs import TopicSettings
from cluster.controller.image import MetadataDelta, MetadataImage, PartitionImage
from cluster.controller.port import Listener
from cluster.controller.quorum_status import QuorumStatus
from cluster.controller.request import Request
from cluster.peer.snapshot import AskState, StatePart, decode, encode_ask, encode_part
from cluster.peer.table import parse
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.state_doors import StateDoors, StateElsewhere
from cluster.shell.state_partitions import StatePartitions
from cluster.shell.state_replica import StateReplica
from cluster.state_partition.layout import CONSUMER_OFFSETS, StateTopic, partition_of
from cluster.state_partition.snapshot import offsets
from consumer_groups.codec import decode as decode_record
from consumer_groups.codec import encode as encode_record
from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupRecord, group_of_members
from consumer_groups.settings import GroupSettings
from logstore.recovery_report import Finding
from logstore.settings import Flush
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, NodeId, Offset
from tests.group_state import commit, committed
from tests.replica_cluster import ONE, THREE, TWO, Cluster
from tests.replica_process import PLACE, Process, worker_of

AnswerT = TypeVar("AnswerT")
GROUPS: Final = ("billing", "g0", "g6")
EVERY: Final = 20
"""Records after which a snapshot is made."""
TURNS_MAX: Final = 10_000
NODES: Final = (ONE, TWO, THREE)


class Quorum:
    """The metadata as one node knows them."""

    def __init__(self, cluster: "StateCluster", node: NodeId) -> None:
        self._cluster, self._node = cluster, node
        self.listeners: list[Listener] = []
        self.barriers = 0

    @property
    def image(self) -> MetadataImage:
        topic = self._cluster.topic
        return MetadataImage(topics={topic.name: topic})

    async def propose(self, request: Request[AnswerT]) -> AnswerT:
        raise AssertionError(request)

    async def read_barrier(self) -> None:
        self.barriers += 1
        if self._cluster.no_quorum:
            raise RequestError(ErrorCode.NO_QUORUM, "no leader of the quorum")
        self._cluster.hear(self._node)

    def subscribe(self, listener: Listener) -> None:
        self.listeners.append(listener)

    @property
    def status(self) -> QuorumStatus:
        raise AssertionError

    async def change_voters(self, add: tuple[NodeId, ...], remove: tuple[NodeId, ...]) -> None:
        raise AssertionError((add, remove))

    async def transfer_leadership(self, to: NodeId) -> None:
        raise AssertionError(to)


class Coordinator:
    """One node's coordinators; for as long as its process lives."""

    def __init__(self, cluster: "StateCluster", process: Process) -> None:
        self.cluster, self.process = cluster, process
        self.quorum = Quorum(cluster, process.node)
        self.machines: list[GroupMachine] = []
        self.jobs: deque[Callable[[], None]] = deque()
        self.lacked: list[str] = []
        self.handed_over: Sequence[NodeId] = ()
        self.slow = False
        """Its thread does nothing for now."""
        topic = StateTopic(
            name=CONSUMER_OFFSETS,
            new_machine=self._machine,
            encode=encode_record,
            decode=decode_record,
            subject=group_of_members,
        )
        doors = StateDoors(
            intake=self,
            disk=process.disk,
            worker=worker_of(self.jobs),
            checkpoint=process.writer.ask,
            failed=process.failures.append,
            snapshot_records=EVERY,
            elsewhere=StateElsewhere(
                node=process.node,
                links=self,
                clock=process.clock,
                lacking=lambda _, why: self.lacked.append(why),
                hand_over=self._hand_over,
            ),
        )
        self.state = StatePartitions(topic, process.partitions, quorum=self.quorum, doors=doors)
        process.streams.subscribe(self.state.role_changed)

    @property
    def replica(self) -> StateReplica[GroupMachine, GroupRecord]:
        found = self.state.replica(0)
        assert found is not None
        return found

    @property
    def snapshots(self) -> list[Offset]:
        """Offsets of those on the disk."""
        return offsets(self.process.disk, PLACE)

    def _hand_over(self, hosted: HostedPartition, others: Sequence[NodeId]) -> None:
        """Have the controller let one that is there lead, as soon as everybody has had a turn."""
        if not self.handed_over:
            self.handed_over = others
            self.process.later.append(self._elect_another)

    def _elect_another(self) -> None:
        others, self.handed_over = self.handed_over, ()
        there = [node for node in others if self.cluster.nodes[node].alive]
        if there:
            self.cluster.elect(there[0], *self.cluster.isr)

    def _machine(self) -> GroupMachine:
        self.machines.append(GroupMachine(GroupSettings()))
        return self.machines[-1]

    def append_time(self) -> AppendTimeMs:
        clock = self.process.clock
        return self.process.append_clock.read(clock.monotonic_ms(), clock.wall_ms())

    def check_room(self, size_bytes: int, *, into_reserve: bool) -> None:
        """There is room."""

    def accepted(self, size_bytes: int) -> None:
        self.process._accepted(size_bytes)
        self.process.writer.ask()

    def ask_state(
        self, node: NodeId, ask: AskState, done: Callable[[StatePart | None], None]
    ) -> None:
        self.cluster.asked.append((self.process.node, ask))
        self.process.later.append(partial(self._carry, node, ask, done))

    def _carry(self, node: NodeId, ask: AskState, done: Callable[[StatePart | None], None]) -> None:
        """Bring a question to another node, and its answer back, as bytes."""
        cluster, me = self.cluster, self.process.node

        def answered(part: StatePart | None) -> None:
            if part is None or (me, node) not in cluster.linked:
                done(None)
                return
            frame = parse(cluster.tamper_part(encode_part(part, correlation=1)), version=1)
            said = decode(frame)
            assert isinstance(said, StatePart)
            done(said._replace(content=bytes(said.content)))

        if (me, node) not in cluster.linked or cluster.no_snapshots:
            done(None)
            return
        asked = decode(parse(encode_ask(ask, correlation=1), version=1))
        assert asked == ask
        if not cluster.homes[node].state.serve(ask, answered):
            done(None)


class StateCluster(Cluster):
    """Nodes 1 to 3 with one state partition, which node 1 leads."""

    def __init__(self) -> None:
        self.homes: dict[NodeId, Coordinator] = {}
        self.asked: list[tuple[NodeId, AskState]] = []
        self.no_snapshots = self.no_quorum = False
        self.tamper_part: Callable[[bytes], bytes] = bytes
        self.restoring: list[asyncio.Task[tuple[Finding, ...]]] = []
        super().__init__(settings=TopicSettings(min_insync_replicas=2, flush=Flush.QUORUM))

    def start(self, node: NodeId) -> Process:
        """Start a node for the first time."""
        self.topic = replace(self.topic, name=CONSUMER_OFFSETS, internal=True)
        process = self._begin(node)
        self.homes[node].state._apply(MetadataImage(), MetadataDelta(created=(self.topic,)))
        self._link_all(node)
        return process

    async def restart(self, node: NodeId) -> Coordinator:
        """Start a node again, as a node starts: its states are read from the disk."""
        self._begin(node)
        home = self.homes[node]
        self.restoring.append(asyncio.ensure_future(home.state.restore()))
        await asyncio.sleep(0)
        self._link_all(node)
        await self.settle()
        return home

    def _begin(self, node: NodeId) -> Process:
        self.registered[node] += 1
        self.heard[node] = {}
        process = self.nodes[node] = Process(self, node, epoch=self.registered[node])
        self.homes[node] = Coordinator(self, process)
        return process

    def _link_all(self, node: NodeId) -> None:
        for other in list(self.nodes.values()):
            if other.alive and other.node != node:
                self.link(node, other.node)

    def change(self, row: PartitionImage) -> None:
        super().change(row)
        for node in self.homes:
            if self.nodes[node].alive and node not in self.unheard:
                self._tell(node)

    def hear(self, node: NodeId) -> None:
        """Let a node hear what it has not."""
        if node in self.unheard:
            self.unheard.remove(node)
            delta = MetadataDelta(changed=(self.topic,))
            self.nodes[node].partitions.apply(MetadataImage(), delta)
            self._tell(node)

    def _tell(self, node: NodeId) -> None:
        quorum = self.homes[node].quorum
        for listener in quorum.listeners:
            listener(quorum.image, MetadataDelta(changed=(self.topic,)))

    async def settle(self, ms: int = 0) -> None:
        """Let everything happen that can, and what falls due in so many milliseconds."""
        for step in range(0, ms + 1, 100):
            if step:
                self.clock.advance(100)
            for _ in range(TURNS_MAX):
                self.run()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if not self.step():
                    break
        self.check()

    def step(self) -> bool:
        for node, home in self.homes.items():
            if self.nodes[node].alive and home.jobs and not home.slow:
                home.jobs.popleft()()
                return True
        return super().step()

    def check(self) -> None:
        """What holds of every replica at any time."""
        for task in self.restoring:
            if task.done():
                task.result()
        for node, process in self.nodes.items():
            if not process.alive:
                continue
            assert not process.failures, process.failures
            kept = self.homes[node].snapshots
            start = process.log.log_start
            held = self.homes[node].replica.held
            assert held or start == 0 or (kept and start <= kept[0]), (node, start, kept)

    def commit(self, node: NodeId, offset: int, *, group: str = GROUPS[0]) -> "asyncio.Task[None]":
        """Ask a node for a commit."""
        return asyncio.ensure_future(commit(self.homes[node].state, group, offset))

    async def commits(self, node: NodeId, *, count: int, begin: int = 0) -> None:
        """Commit offsets that count up, one after the other."""
        for offset in range(begin, begin + count):
            task = self.commit(node, offset)
            while not task.done():
                await self.settle()
            await task

    async def committed(self, node: NodeId, *, group: str = GROUPS[0]) -> int | None:
        """Ask a node what is committed."""
        task = asyncio.ensure_future(committed(self.homes[node].state, group))
        for _ in range(50):
            if task.done():
                break
            await self.settle(100)
        return await asyncio.wait_for(task, 0)


assert {partition_of(group) for group in GROUPS} == {0}
