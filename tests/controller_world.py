"""Nodes with links, quorum and the controller's shell, on one clock and one memory network."""

from asyncio import CancelledError, Task, get_running_loop
from collections.abc import Coroutine
from contextlib import suppress
from random import Random
from typing import Any, TypeVar

from api.sim.disk import SimDisk
from cluster.controller.bootstrap import Empty, Founder
from cluster.controller.image import NO_EPOCH, BrokerImage, Endpoint, LogEnd, Standing
from cluster.peer.hello import Hello
from cluster.peer.table import Family
from cluster.raft.voters import Voter
from cluster.settings import ClusterSettings
from cluster.shell.controller_addresses import PeerAddresses
from cluster.shell.controller_bootstrap import Bootstrap, QuorumBook
from cluster.shell.controller_client import Starting
from cluster.shell.controller_deaths import Deaths
from cluster.shell.controller_doors import PEER_LISTENER, ControllerDoors
from cluster.shell.controller_frames import ControllerFrames
from cluster.shell.controller_shell import ControllerShell
from cluster.shell.peer_doors import PeerDoors
from cluster.shell.peer_links import PeerLinks
from cluster.shell.peer_network import Address
from cluster.shell.raft_doors import Doors
from cluster.shell.raft_impostors import without_impostors
from cluster.shell.raft_quorum import RaftQuorum
from cluster.shell.raft_wire import receiver, sender
from cluster.shell.tick import Tick
from model.errors import DirectoryRefused, RequestError
from model.ids import AppendTimeMs, NodeId, Offset, PartitionId, RegistrationEpoch
from tests.peer_network import SECRET, Chance, MemoryNetwork
from tests.quorum import Runner, turns

ResultT = TypeVar("ResultT")

ROUNDS = 6
"""Of bytes moving and tasks having their turn, after which whatever can go on has."""
STEPS_MAX = 400


class Tasks:
    """`model.ports.Spawn`: one task that fails is the test's failure."""

    def __init__(self) -> None:
        self.running: set[Task[None]] = set()
        self.failed: list[BaseException] = []

    def start(self, task: Coroutine[object, object, None], name: str) -> None:
        running = get_running_loop().create_task(task, name=name)
        self.running.add(running)
        running.add_done_callback(self._ended)

    async def cancel(self) -> None:
        running = list(self.running)
        for task in running:
            task.cancel()
        for task in running:
            with suppress(CancelledError, DirectoryRefused):
                await task

    def _ended(self, task: Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed.append(error)


class Directory:
    """What stays of a node when its process ends."""

    def __init__(self, uuid: int) -> None:
        self.uuid = bytes([uuid]) * 16
        self.disk = SimDisk()
        self.remembered = RegistrationEpoch(0)
        self.clean = True


class Node:
    """One process."""

    def __init__(self, world: "World", number: int, directory: Directory, *, host: str) -> None:
        self.world = world
        self.node = NodeId(number)
        self.directory = directory
        self.address = Address(host, 7_000)
        world.processes += 1
        incarnation = world.processes.to_bytes(16, "big")
        self.me = Hello(self.node, directory.uuid, incarnation, bytes(32), world.cluster_id)
        self.tasks = Tasks()
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.refused: DirectoryRefused | None = None
        self.replaced: list[str] = []
        self.isr_refused: list[tuple[PartitionId, int]] = []
        self.ends: dict[PartitionId, LogEnd] = {}
        self.up: RaftQuorum | None = None
        self.shell: ControllerShell | None = None
        self.broker: BrokerImage | None = None
        self.host = world.net.host(self.address)
        links = self.links = PeerLinks(
            PeerDoors(
                me=self.me,
                secret=SECRET,
                clock=world.net.clock,
                rand=Chance(world.processes),
                tick=Tick(world.net.tick.call_soon),
                network=self.host,
            )
        )
        self.addresses = PeerAddresses(links)
        settings = world.settings
        self.deaths = Deaths(world.net.clock, links, refused_ms=settings.broker_refused_ms)
        links.subscribe(self.addresses)
        links.subscribe(self.deaths)
        empty = Empty(world.cluster_id, Founder(self.node, directory.uuid))
        book = QuorumBook(directory.disk, Runner(), Voter(self.node, directory.uuid))
        self.bootstrap = Bootstrap(
            links, book, empty, seeds=world.seeds, clock=world.net.clock, note=self.note
        )
        links.subscribe(self.bootstrap)
        self.frames = ControllerFrames(self.tasks, self.bootstrap.seed_answer)
        links.route(Family.CONTROLLER, self.frames.take)
        self.host.gate = links.listener
        self.tasks.start(self._run(), "node")

    @property
    def quorum(self) -> RaftQuorum:
        assert self.up is not None, f"node {self.node} has no quorum"
        return self.up

    @property
    def at_work(self) -> ControllerShell:
        assert self.shell is not None, f"node {self.node} has no quorum"
        return self.shell

    def note(self, event: str, /, **fields: str | int) -> None:
        self.notes.append((event, fields))

    def noted(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.notes if name == event]

    async def _remember(self, epoch: RegistrationEpoch) -> None:
        self.directory.remembered = epoch

    async def _run(self) -> None:
        try:
            await self._join()
        except DirectoryRefused as refused:
            self.refused = refused

    async def _join(self) -> None:
        world, directory = self.world, self.directory
        voters = await self.bootstrap.voters()
        quorum = self.up = await RaftQuorum.open(
            Doors(
                disk=directory.disk,
                clock=world.net.clock,
                rand=Random(world.processes),
                run_blocking=Runner(),
                send=sender(self.links.say),
            ),
            world.settings,
            me=Voter(self.node, directory.uuid),
            voters=voters,
            defaults={},
        )
        steps = without_impostors(receiver(quorum.step), self.links, lambda: quorum.image)
        self.links.route(Family.RAFT, steps)
        self.bootstrap.follows(quorum)
        doors = ControllerDoors(
            me=self.me,
            clock=world.net.clock,
            spawn=self.tasks,
            quorum=quorum,
            links=self.links,
            append_time=lambda: AppendTimeMs(world.net.clock.wall_ms()),
            settings=world.settings,
            note=self.note,
            remember=self._remember,
            replaced=self.replaced.append,
        )
        shell = self.shell = ControllerShell(
            doors,
            self.addresses,
            self.deaths,
            defaults={},
            isr_refused=lambda where, based_on: self.isr_refused.append((where, based_on)),
            end_of=lambda where: self.ends.get(where, LogEnd(NO_EPOCH, Offset(0))),
        )
        self.frames.serve(shell.service)
        self.tasks.start(quorum.run(), "quorum")
        self.broker = await shell.client.register(
            Starting(
                remembered=directory.remembered,
                clean=directory.clean,
                endpoints=(Endpoint(PEER_LISTENER, *self.address),),
            )
        )
        directory.clean = False
        shell.isr.start()
        shell.recovered.start()

    async def kill(self) -> None:
        """End the process: its kernel resets its connections, and refuses."""
        self.world.net.kill(self.host, ConnectionResetError())
        await self.vanish()

    async def vanish(self) -> None:
        """End the process without a trace: nothing more comes of it."""
        self.host.lives = False
        if self.shell is not None:
            self.shell.stop()
        await self.tasks.cancel()
        self.up = self.shell = None
        if self.world.nodes.get(self.node) is self:
            del self.world.nodes[self.node]
        self.directory.disk.kill()


class World:
    """Nodes 1 to n, each its own seed."""

    def __init__(
        self, seeds: int = 3, *, cluster_id: str = "tide", settings: ClusterSettings | None = None
    ) -> None:
        self.net = MemoryNetwork()
        self.cluster_id = cluster_id
        self.settings = settings or ClusterSettings()
        self.seeds = [Address(f"n{number}", 7_000) for number in range(1, seeds + 1)]
        self.nodes: dict[NodeId, Node] = {}
        self.strays: list[Node] = []
        self.directories = {NodeId(number): Directory(number) for number in range(1, 10)}
        self.processes = 0

    def start(self, *numbers: int) -> None:
        for number in numbers:
            node = NodeId(number)
            self.nodes[node] = Node(self, number, self.directories[node], host=f"n{number}")

    def stray(self, number: int, directory: Directory, *, host: str) -> Node:
        """Start a process that has no business here."""
        node = Node(self, number, directory, host=host)
        self.strays.append(node)
        return node

    async def close(self) -> None:
        failed: list[BaseException] = []
        for node in [*self.nodes.values(), *self.strays]:
            failed += node.tasks.failed
            await node.vanish()
        assert not failed, failed

    async def settle(self) -> None:
        for _ in range(ROUNDS):
            self.net.run()
            await turns(4)

    async def after(self, ms: int) -> None:
        """Let time pass, from timer to timer."""
        clock = self.net.clock
        until = clock.monotonic_ms() + ms
        await self.settle()
        while (timer := clock.next_timer()) is not None and timer <= until:
            clock.advance(max(0, timer - clock.monotonic_ms()))
            await self.settle()
        clock.advance(until - clock.monotonic_ms())
        await self.settle()

    async def until(self, what: Any) -> int:
        """Let time pass until something holds; return how many ms that took."""
        begun = self.net.clock.monotonic_ms()
        await self.settle()
        for _ in range(STEPS_MAX):
            if what():
                return self.net.clock.monotonic_ms() - begun
            await self.after(50)
        raise AssertionError("it never came to hold")

    async def done(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Let time pass until something is answered; return the answer, or raise the refusal."""
        task = get_running_loop().create_task(work)
        await self.until(task.done)
        return await task

    async def refused(self, work: Coroutine[Any, Any, Any]) -> RequestError:
        try:
            await self.done(work)
        except RequestError as refused:
            return refused
        raise AssertionError("it was not refused")

    async def formed(self, *numbers: int) -> Node:
        """Start nodes, and wait until all are registered everywhere; return the controller."""
        self.start(*numbers)
        await self.until(self.agreed)
        return self.active()

    def agreed(self) -> bool:
        """Tell whether every node shows every node that runs as running."""
        return all(
            node.up is not None
            and all(self.standing(other, by=node) is Standing.RUNNING for other in self.nodes)
            for node in self.nodes.values()
        ) and any(node.shell and node.shell.active for node in self.nodes.values())

    def standing(self, node: int, *, by: Node) -> Standing | None:
        broker = by.quorum.image.brokers.get(NodeId(node))
        return None if broker is None else broker.standing

    def active(self) -> Node:
        found = [node for node in self.nodes.values() if node.shell and node.shell.active]
        assert len(found) == 1, [node.node for node in found]
        return found[0]

    def others(self, *nodes: Node) -> list[Node]:
        return [node for node in self.nodes.values() if node not in nodes]
