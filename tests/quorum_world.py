"""A quorum of several nodes in one process: real members and bytes, simulated everything else."""

from asyncio import CancelledError, Task, get_running_loop
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import pytest

from api.sim.clock import SimClock
from api.sim.disk import SimDisk
from cluster.controller.brokers import FormCluster, RegisterBroker
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.topics import CreateTopic
from cluster.peer.hello import Hello
from cluster.peer.table import SPOKEN, parse
from cluster.raft.voters import Voter
from cluster.settings import ClusterSettings
from cluster.shell.raft_doors import Doors
from cluster.shell.raft_member import QuorumLeader
from cluster.shell.raft_quorum import RaftQuorum
from cluster.shell.raft_wire import receiver, sender
from model.errors import RequestError
from model.ids import NodeId, TopicId, TopicName, WallMs
from tests.quorum import Runner, turns

ResultT = TypeVar("ResultT")

TURNS = 12
"""Enough for a message, its disk job and the answer, twice."""
TICKS_MAX = 100


@dataclass
class Shadow:
    """What a listener knows that is told of steps only."""

    topics: dict[TopicId, TopicName] = field(default_factory=dict)
    brokers: set[NodeId] = field(default_factory=set)
    images: list[MetadataImage] = field(default_factory=list)

    def begin(self, image: MetadataImage) -> None:
        self.topics = {topic_id: topic.name for topic_id, topic in image.topics_by_id.items()}
        self.brokers = set(image.brokers)
        self.images = [image]

    def listen(self, image: MetadataImage, delta: MetadataDelta) -> None:
        assert image.applied > self.images[-1].applied
        for topic in delta.created:
            assert topic.topic_id not in self.topics
            self.topics[topic.topic_id] = topic.name
        for topic in delta.changed:
            assert topic.topic_id in self.topics
        for topic_id in delta.deleted:
            del self.topics[topic_id]
        self.brokers |= {broker.node for broker in delta.brokers}
        self.brokers -= set(delta.brokers_removed)
        self.images.append(image)
        assert self.topics == {topic_id: t.name for topic_id, t in image.topics_by_id.items()}
        assert self.brokers == set(image.brokers)


class Host:
    """One node: its directory, its member while it runs, and what it has heard."""

    def __init__(self, world: "QuorumWorld", me: Voter, voters: tuple[Voter, ...]) -> None:
        self.world = world
        self.me = me
        self.voters = voters
        self.disk = SimDisk()
        self.runner = Runner()
        self.shadow = Shadow()
        self.leaders: list[QuorumLeader] = []
        self.life = 0
        self.up: RaftQuorum | None = None
        self.task: Task[None] | None = None

    @property
    def quorum(self) -> RaftQuorum:
        assert self.up is not None, f"node {self.me.node} is down"
        return self.up

    @property
    def topics(self) -> set[str]:
        return set(self.quorum.image.topics)

    async def start(self) -> None:
        self.life += 1
        doors = Doors(
            disk=self.disk,
            clock=self.world.clock,
            rand=Random(self.me.node * 1_000 + self.life),
            run_blocking=self.runner,
            send=sender(self._say),
        )
        quorum = await RaftQuorum.open(
            doors, self.world.settings, me=self.me, voters=self.voters, defaults={}
        )
        self.shadow.begin(quorum.image)
        quorum.subscribe(self.shadow.listen)
        quorum.subscribe_leadership(self.leaders.append)
        self.up = quorum
        self.task = get_running_loop().create_task(quorum.run())

    async def kill(self, *, power: bool = False) -> None:
        """End the process; with `power` that goes too, and nothing unsynced is left."""
        task, self.up, self.task = self.task, None, None
        assert task is not None
        task.cancel()
        with suppress(CancelledError):
            await task
        self.runner = Runner()
        if power:
            self.disk.power_cut(lambda pending: pending.nothing)
        else:
            self.disk.kill()

    async def stop(self) -> None:
        """Stop in order."""
        assert self.task is not None
        task, quorum = self.task, self.quorum
        quorum.stop()
        for _ in range(TICKS_MAX):
            if task.done():
                break
            await self.world.ticks()
        await task
        await quorum.ended()
        self.up = self.task = None

    def _say(self, node: NodeId, frame: bytes) -> bool:
        return self.world.carry(self.me, node, frame)

    def hear(self, source: Voter, frame: bytes) -> None:
        if self.up is not None:
            peer = Hello(source.node, source.directory, bytes(16), bytes(32), "tide")
            receive = receiver(self.up.step)
            receive(peer, parse(frame, version=SPOKEN.greatest), None)


class QuorumWorld:
    """Nodes 1 to n, and the links between them."""

    def __init__(self, count: int = 3, *, settings: ClusterSettings | None = None) -> None:
        self.settings = settings or ClusterSettings()
        self.clock = SimClock(wall=WallMs(1_700_000_000_000))
        self.cuts: set[tuple[NodeId, NodeId]] = set()
        founders = tuple(identity(node) for node in range(1, count + 1))
        self.hosts = {me.node: Host(self, me, founders) for me in founders}
        self.carried = 0
        self.lose: Callable[[], bool] = lambda: False

    async def start(self) -> None:
        for host in self.hosts.values():
            await host.start()

    async def close(self) -> None:
        for host in self.hosts.values():
            if host.task is not None:
                await host.kill()

    def carry(self, source: Voter, to: NodeId, frame: bytes) -> bool:
        """Take a frame on its way; it arrives when the loop has had its turn."""
        self.carried += 1
        if (source.node, to) in self.cuts or to not in self.hosts or self.lose():
            return False
        get_running_loop().call_soon(self.hosts[to].hear, source, frame)
        return True

    def cut_off(self, node: NodeId) -> None:
        for other in self.hosts:
            if other != node:
                self.cuts |= {(node, other), (other, node)}

    def mend(self) -> None:
        self.cuts.clear()

    async def ticks(self, count: int = 1) -> None:
        for _ in range(count):
            self.clock.advance(100)
            await turns(TURNS)

    async def leader(self, *, among: list[Host] | None = None) -> Host:
        """Let time pass until one node leads and may decide; return it."""
        hosts = list(self.hosts.values()) if among is None else among
        for _ in range(TICKS_MAX):
            leading = [host for host in hosts if host.up is not None and host.quorum.leads]
            if len(leading) == 1:
                return leading[0]
            await self.ticks()
        raise AssertionError("nobody leads")

    async def formed(self) -> Host:
        """Start everybody; form the cluster, and register every node; return the leader."""
        await self.start()
        leader = await self.leader()
        await self.done(leader.quorum.propose(FormCluster(cluster_id="tide")))
        for host in self.hosts.values():
            await self.register(leader, host)
        await self.agreed()
        return leader

    async def register(self, leader: Host, host: Host) -> None:
        request = RegisterBroker(node=host.me.node, directory=host.me.directory, clean=True)
        await self.done(leader.quorum.propose(request))

    async def done(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Let time pass until something is answered; return the answer, or raise the refusal."""
        task = get_running_loop().create_task(work)
        await turns(TURNS)
        for _ in range(TICKS_MAX):
            if task.done():
                break
            await self.ticks()
        return await task

    async def agreed(self) -> MetadataImage:
        """Let time pass until every node that is up shows the same; return that."""
        for _ in range(TICKS_MAX):
            images = [host.quorum.image for host in self.hosts.values() if host.up is not None]
            if len({image.applied for image in images}) == 1:
                assert all(image.topics == images[0].topics for image in images)
                return images[0]
            await self.ticks()
        raise AssertionError("the nodes do not agree")

    def others(self, host: Host) -> list[Host]:
        return [other for other in self.hosts.values() if other is not host]


def identity(node: int, *, directory: int | None = None) -> Voter:
    return Voter(NodeId(node), bytes([node if directory is None else directory]) * 16)


def create(name: str) -> CreateTopic:
    return CreateTopic(name=name, partitions=1, replication_factor=1)


async def refused(world: QuorumWorld, quorum: RaftQuorum, name: str) -> RequestError:
    with pytest.raises(RequestError) as error:
        await world.done(quorum.propose(create(name)))
    return error.value
