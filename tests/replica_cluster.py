"""Three nodes' worth of partitions and streams, without sockets, threads or a loop.

Everything is the node's own code from `Partitions` and `ReplicaStreams` down to the bytes on a
simulated disk. What a thread, a link or the loop would do waits in queues that `run` empties, node
after node, so that a test says what happens in between. The controller is the test: it takes
proposals as the real one does, and elects whom it is told to.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from cluster.controller.configs import TopicKind, TopicSettings
from cluster.controller.image import MetadataDelta, MetadataImage, PartitionImage, TopicImage
from cluster.controller.isr import IsrProposal, RowVersion
from cluster.peer.table import Frame, parse
from cluster.shell.replica_beats import BEAT_MS
from logstore.settings import LogSettings
from model.errors import MalformedError
from model.ids import (
    LeaderEpoch,
    MonotonicMs,
    NodeId,
    TopicName,
)
from tests.replica_process import NOON, PLACE, TOPIC, Process

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
STEPS_MAX: Final = 200_000
"""Of everything that must come to an end by itself."""
LOG: Final = LogSettings(
    journal_file_bytes=256 << 10, tail_bytes=0, tails_bytes_max=0, index_interval_bytes=64
)


class Cluster:
    """Nodes 1 to 3, one partition on all of them, node 1 leading."""

    def __init__(
        self,
        *,
        log_settings: LogSettings = LOG,
        replicas: tuple[NodeId, ...] = (ONE, TWO, THREE),
        settings: TopicSettings | None = None,
        replica_lag_ms_max: int = 2_500,
    ) -> None:
        self.clock = SimClock(wall=NOON, monotonic=MonotonicMs(10_000))
        self.log_settings = log_settings
        self.replica_lag_ms_max = replica_lag_ms_max
        row = PartitionImage(0, replicas[0], LeaderEpoch(1), replicas, replicas, partition_epoch=1)
        self.topic = TopicImage(
            name=TopicName("orders"),
            topic_id=TOPIC,
            kind=TopicKind.LOG,
            partitions=(row,),
            config=MappingProxyType({}),
            config_version=0,
            settings=settings or TopicSettings(min_insync_replicas=min(2, len(replicas))),
            created_at=NOON,
            internal=False,
        )
        self.sent: deque[tuple[NodeId, NodeId, bytes]] = deque()
        self.linked: set[tuple[NodeId, NodeId]] = set()
        self.unheard: set[NodeId] = set()
        """Nodes that hear of no change of the metadata."""
        self.heard: dict[NodeId, dict[NodeId, MonotonicMs]] = {}
        self.proposed: deque[tuple[NodeId, IsrProposal]] = deque()
        self.answered: list[RowVersion] = []
        self.without_session: set[NodeId] = set()
        self.refuse_to_say = False
        self.refuse_proposals = False
        self.tamper: Callable[[bytes], bytes] = bytes
        self.malformed: list[MalformedError] = []
        self.seen: list[tuple[NodeId, NodeId, Frame]] = []
        """Every frame that has arrived: from, to, what."""
        self.disks = {node: SimDisk() for node in (ONE, TWO, THREE)}
        self.registered = dict.fromkeys((ONE, TWO, THREE), 0)
        self.nodes: dict[NodeId, Process] = {}
        for node in (ONE, TWO, THREE):
            self.start(node)
        self.run()

    @property
    def row(self) -> PartitionImage:
        return self.topic.partitions[0]

    @property
    def isr(self) -> set[NodeId]:
        """Who is in sync, as the controller has it."""
        return set(self.row.isr)

    def start(self, node: NodeId) -> Process:
        """Start a node, and link it to all others."""
        self.registered[node] += 1
        self.heard[node] = {}
        process = Process(self, node, epoch=self.registered[node])
        self.nodes[node] = process
        for other in list(self.nodes.values()):
            if other.alive and other.node != node:
                self.link(node, other.node)
        return process

    def link(self, one: NodeId, two: NodeId) -> None:
        """Let two nodes reach each other."""
        self.linked |= {(one, two), (two, one)}
        self.nodes[one].streams.stream_up(two)
        self.nodes[two].streams.stream_up(one)

    def cut(self, one: NodeId, two: NodeId) -> None:
        """End the links between two nodes, and what is on them."""
        self.linked -= {(one, two), (two, one)}
        self.sent = deque(sent for sent in self.sent if {sent[0], sent[1]} != {one, two})
        for node, other in ((one, two), (two, one)):
            if self.nodes[node].alive:
                self.nodes[node].streams.stream_lost(other)

    def kill(self, node: NodeId) -> None:
        """End a process; its page cache stays."""
        process = self.nodes[node]
        process.alive = False
        process.streams.stop()
        process.later.clear()
        process.jobs.clear()
        process.disk.kill()
        for other in self.nodes:
            if other != node:
                self.cut(node, other)

    def change(self, row: PartitionImage) -> None:
        """Commit another row of the partition, and tell everybody who lives and hears."""
        row = row._replace(partition_epoch=self.row.partition_epoch + 1)
        self.topic = replace(self.topic, partitions=(row,))
        delta = MetadataDelta(changed=(self.topic,))
        for process in self.nodes.values():
            if process.alive and process.node not in self.unheard:
                process.partitions.apply(MetadataImage(), delta)

    def elect(self, leader: NodeId | None, *isr: NodeId, lossy: bool = False) -> None:
        """Let somebody lead from here on, in a new epoch."""
        row = self.row
        epoch = LeaderEpoch(row.leader_epoch + 1)
        members = tuple(node for node in row.replicas if node in isr) or row.isr
        lossy_epoch = epoch if lossy else row.lossy_epoch
        self.change(
            row._replace(leader=leader, leader_epoch=epoch, isr=members, lossy_epoch=lossy_epoch)
        )

    def run(self) -> None:
        """Do everything that can be done without time passing."""
        for _ in range(STEPS_MAX):
            if not self.step():
                return
        raise AssertionError("it never comes to an end")

    def pass_time(self, ms: int) -> None:
        """Let time pass in steps, and everything happen that falls due."""
        for _ in range(0, ms, BEAT_MS):
            self.clock.advance(BEAT_MS)
            self.run()

    def step(self) -> bool:
        """Do one thing that waits; false when there is none."""
        for process in self.nodes.values():
            if process.alive and process.later:
                process.later.popleft()()
                return True
            if process.alive and process.jobs and not process.slow:
                process.jobs.popleft()()
                return True
        if self.sent:
            self._deliver(*self.sent.popleft())
            return True
        if self.proposed:
            self.decide(*self.proposed.popleft())
            return True
        return False

    def _deliver(self, sender: NodeId, to: NodeId, raw: bytes) -> None:
        frame = parse(self.tamper(raw), version=1)
        self.seen.append((sender, to, frame))
        self.heard[to][sender] = self.clock.monotonic_ms()
        try:
            self.nodes[to].streams.incoming(sender, frame)
        except MalformedError as malformed:
            self.malformed.append(malformed)
            self.cut(sender, to)

    def decide(self, leader: NodeId, proposal: IsrProposal) -> None:
        """Take a proposal as the controller does, but for what an election would have to say."""
        row, version = self.row, proposal.version
        known = all(self.registered[node] == epoch for node, epoch in proposal.followers)
        if (
            self.refuse_proposals
            or not known
            or (row.leader, row.leader_epoch) != (leader, version.leader_epoch)
            or row.partition_epoch != version.partition_epoch
        ):
            self.nodes[leader].streams.isr_refused(PLACE, version.partition_epoch)
            return
        members = {leader, *(node for node, _ in proposal.followers)}
        self.change(row._replace(isr=tuple(one for one in row.replicas if one in members)))
