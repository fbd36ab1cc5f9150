"""The composition root of one node: the only place that constructs implementations.

Order at start: the log directory is recovered, and the use cases are made; then doors may open. The
metadata log is opened, the node registered, its partitions hosted: before the doors where the node
is its whole cluster, else behind them, for it may have to wait for others. Order at stop: what it
leads is handed over, doors drain, what was accepted is written, a checkpoint covers it, the
directory is marked clean.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from api.broker.answer_shares import answer_shares
from api.broker.broker import Broker
from api.broker.context import BrokerContext
from api.broker.damage import Damage
from api.broker.housekeeping import Housekeeping
from api.broker.joining import Joining
from api.broker.memory import MemoryBudget
from api.broker.read_room import ReadRoom, read_room_bytes
from api.broker.scrubber import Scrubber
from api.loop_lag import LoopLag
from api.node.alone import Alone
from api.node.cluster_node import ClusterNode
from api.node.hosting import Hosting
from api.node.late_quorum import LateQuorum
from api.node.membership import Membership
from api.node.opening import open_directory
from api.node.parts import Parts
from api.node.plug import plug_groups
from api.node.world import World
from api.settings import NodeSettings
from cluster.shell.disk_writer import DiskWriter
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.partitions import Partitions
from cluster.shell.tick import Tick
from logstore.append_clock import AppendClock
from logstore.log_directory import LogDirectory, Opened
from logstore.partition_log import PartitionLog
from logstore.round import RoundResult
from model.ids import NodeId, PartitionId

HOUSEKEEPING_MS: Final = 60_000
"""How often retention and expiry are looked at."""
ANSWERS_SHARE: Final = 4
"""One part in so many of the memory budget is for answers. Another is for requests while they are
read (`read_room_bytes`), the rest for what came in."""


class Node:
    """One node in this process. Loop only."""

    def __init__(
        self,
        settings: NodeSettings,
        world: World,
        *,
        opened: Opened,
        failed: Callable[[BaseException], None],
    ) -> None:
        """Use `Node.start`."""
        loop = asyncio.get_running_loop()
        self.settings, self.report = settings, opened.report
        """What holds here, and what recovery found; for the log and for whoever asks."""
        self.stray: tuple[PartitionId, ...] = ()
        """Directories of partitions that the metadata does not have."""
        self.lag = LoopLag(loop.call_soon, loop.time)
        self.tick = Tick(self.lag.call_soon)
        self._world, self._failed, self._opened = world, failed, opened
        self._read_pool = world.workers(
            "read", loop.call_soon_threadsafe, threads=settings.limits.read_threads
        )
        self._metadata = world.workers("metadata", loop.call_soon_threadsafe)
        self._state = world.workers("state", loop.call_soon_threadsafe)
        self.node_id = NodeId(settings.node.id)
        answers_bytes = world.memory_bytes // ANSWERS_SHARE
        room_bytes = read_room_bytes(world.memory_bytes, settings.kafka.request_bytes_max)
        self.room = ReadRoom(room_bytes)
        """For Kafka requests while they are read."""
        self.memory = MemoryBudget(
            world.memory_bytes - answers_bytes - room_bytes, "wait for the disk"
        )
        self._keep_logs(settings, world)
        self._membership = self._member(settings, world)
        self.shares = answer_shares(answers_bytes, alone=self._membership.others is None)
        self.answers = self.shares.clients
        self._joining = Joining(self.node_id, world.clock)
        self._join_task: asyncio.Task[object] | None = None
        self._is_leaving = False
        self._quorum = LateQuorum()
        self._hosting = Hosting(
            self._quorum,
            self.partitions,
            opened=opened,
            writer=self.writer,
            spawn=world.spawn,
            note=world.note,
        )
        self._serve(settings, world)

    def _keep_logs(self, settings: NodeSettings, world: World) -> None:
        """Make what appends, writes and hosts the partitions of the directory."""
        call_soon = asyncio.get_running_loop().call_soon_threadsafe
        self.directory: LogDirectory = self._opened.directory
        self.append_clock = AppendClock(
            self._opened.clock_floor,
            world.clock.wall_ms(),
            world.clock.monotonic_ms(),
            reserved=self._opened.clock_reserved,
        )
        self.writer = DiskWriter(
            self.directory,
            clock=world.clock,
            tick=self.tick,
            worker=lambda name: world.workers(name, call_soon),
            ended=self._written,
            failed=self._storage_failed,
        )
        self.partitions = Partitions(
            self.node_id,
            directory=self.directory,
            clock=world.clock,
            replica_lag_ms_max=settings.cluster.replica_lag_ms_max,
            changed=self.writer.ask,
            dropped=self._dropped,
        )

    def _serve(self, settings: NodeSettings, world: World) -> None:
        """Make the use cases, and what the node does by itself once it has joined."""
        others = self._membership.others
        context = self._make_context(settings, world)
        if others is not None:
            context.damage.mend_by(others.mending)
        groups = self._groups = plug_groups(
            context,
            disk=world.disk,
            worker=self._state,
            settings=settings,
            failed=self._storage_failed,
            others=others,
        )
        self.broker = Broker(
            context,
            settings.topics,
            settings.topic_defaults,
            groups_state=groups,
            group_defaults=settings.groups,
        )
        """The use cases."""
        self._housekeeping = Housekeeping(
            context,
            self.broker.searches,
            period_ms=HOUSEKEEPING_MS,
            groups=self.broker.group_upkeep.tend,
        )
        self.scrubber = Scrubber(context, settings.log, disk=world.disk, rand=world.rand)
        """Reads closed segments again, once the node has joined."""

    @classmethod
    async def start(
        cls, settings: NodeSettings, world: World, *, failed: Callable[[BaseException], None]
    ) -> "Node":
        """Recover; doors may open when this returns. A node that is alone has joined by then.

        `failed` is told of what ends the node while it runs; among others also that this
        node does not belong to it (DirectoryRefused).

        Raises:
            DirectoryRefused: in use, another's, damaged, or of a newer format: nothing was changed.
            DoorTaken: the address for other nodes cannot be had.
            StorageFailed: the disk refused.
        """
        opening = world.workers("opening", asyncio.get_running_loop().call_soon_threadsafe)
        try:
            opened = await opening.run(partial(open_directory, settings, world))
        finally:
            opening.close()
        node = cls(settings, world, opened=opened, failed=failed)
        begun = False
        try:
            await node._begin()
            begun = True
        finally:
            if not begun:
                await node._give_up()
        return node

    @property
    def has_joined(self) -> bool:
        """Whether the node is registered, and hosts what the metadata give it."""
        return self._joining.is_over

    def _member(self, settings: NodeSettings, world: World) -> Membership:
        """Return what this node is to its cluster."""
        if not settings.cluster.seed_list or world.peers is None:
            return Alone(settings, world, opened=self._opened, metadata=self._metadata)
        parts = Parts(
            settings=settings,
            world=world,
            opened=self._opened,
            tick=self.tick,
            append_clock=self.append_clock,
            partitions=self.partitions,
            writer=self.writer,
            read_pool=self._read_pool,
            metadata=self._metadata,
            memory=self.memory,
            storage_failed=self._storage_failed,
            failed=self._failed,
        )
        return ClusterNode(parts, world.peers)

    def _make_context(self, settings: NodeSettings, world: World) -> BrokerContext:
        """Return what use cases share."""
        others = self._membership.others
        return BrokerContext(
            node=self.node_id,
            clock=world.clock,
            rand=world.rand,
            tick=self.tick,
            spawn=world.spawn,
            append_clock=self.append_clock,
            directory=self.directory,
            writer=self.writer,
            read_pool=self._read_pool,
            memory=self.memory,
            room=self.room,
            shares=self.shares,
            partitions=self.partitions,
            quorum=self._quorum,
            joining=self._joining,
            damage=Damage(self.partitions, world.note),
            note=world.note,
            forwarding=None if others is None else others.forwarding,
            controller=None if others is None else others.controller,
            replicas_wanted=settings.cluster.replicas_wanted,
        )

    async def _begin(self) -> None:
        """Join: at once if nobody is to be waited for, else meanwhile."""
        self._membership.open()
        if self._membership.others is None:
            await self._join()
        else:
            self.partitions.wait_for_metadata()
            self._world.spawn.start(self._join_meanwhile(), "join the cluster")

    async def _join_meanwhile(self) -> None:
        if not self._is_leaving:
            self._join_task = asyncio.current_task()
            await self._join()

    async def _join(self) -> None:
        """Enter the cluster, host what is to be hosted, begin what the node does by itself."""
        membership, broker = self._membership, self.broker
        await membership.enter()
        self._quorum.found(membership.quorum)
        self.stray = self._hosting.begin()
        for partition in self.stray:
            self._world.note(
                "partition_stray", topic_id=partition.topic.hex(), partition=partition.number
            )
        membership.begin()
        broker.context.damage.recovered(self.report.repaired)
        self.report.repaired += await self._groups.restore()
        self._housekeeping.start()
        self.scrubber.start()
        broker.group_figures.start()
        broker.members.start()
        broker.group_upkeep.start()
        await self.writer.flushed()
        self._joining.end()
        if membership.others is not None:
            self._world.note("cluster_joined", partitions=len(self.partitions))

    def _written(self, result: RoundResult | None, logs: Sequence[PartitionLog]) -> None:
        """Answer whom a round or a checkpoint sets free; give back a round's memory.

        Without a result it is a checkpoint, or a round that is written and not synced yet.
        """
        if result is not None:
            self._round_ended(result)
        now = self._world.clock.monotonic_ms()
        for log in logs:
            partition = self.partitions.by_log(log)
            if partition is not None:
                for ack in partition.persisted(now):
                    ack.tell(None)
                if result is not None:
                    self._housekeeping.appended(partition)
        if result is not None:
            self._membership.round_ended()

    def _round_ended(self, result: RoundResult) -> None:
        work = result.round
        for name in result.set_aside:
            self._world.note("partition_set_aside", directory=name)
        if work.clock is not None:
            self.append_clock.reserved(work.clock)
        size_bytes = sum(run.size_bytes for part in work.parts for run in part.runs)
        if size_bytes:
            self.memory.give_back(size_bytes)

    def _dropped(self, partition: HostedPartition) -> None:
        self.broker.produce.dropped(partition)

    def _storage_failed(self, error: Exception) -> None:
        self._world.note("storage_failed", error=str(error))
        self.broker.produce.fail(error)
        self.broker.groups_state.fail(error)
        self._failed(error)

    async def leave(self) -> None:
        """Hand over to other nodes what this one leads, before its doors close; it still serves.

        A node that has not joined gives that up: there is nothing to hand over.
        """
        self._is_leaving = True
        self.writer.end_soon()
        if self._join_task is not None and not self._join_task.done():
            self._join_task.cancel()
            await asyncio.wait([self._join_task])
        await self._membership.leave()

    async def settle(self) -> None:
        """Wait until everything that has arrived is written and answered, or never will be."""
        self.broker.produce.accept()
        await self.writer.flushed()

    async def stop(self, *, clean: bool) -> None:
        """End background work and threads; mark the directory clean if everything went well.

        One that was not clean, or was found damaged, stays so until the controller has heard of it:
        what it lost before this start must count in elections.
        """
        if not self.has_joined:
            clean = clean and self._opened.clean and not self.report.repaired
        self._world.note("node_stopping", clean=str(clean).lower())
        self._housekeeping.stop()
        self.scrubber.stop()
        self.broker.members.stop()
        self.broker.group_upkeep.stop()
        await self._membership.depart()
        await self._membership.stop()
        await self.settle()  # what the metadata still committed is written as well
        await self._groups.at_rest()
        await self.settle()  # of a snapshot that became durable only now
        await self.writer.at_rest()
        floor = self.append_clock.floor if clean else None
        self.writer.close(floor)
        self._read_pool.close()
        await self._world.spawn.close()
        self._metadata.close()
        self._state.close()

    async def _give_up(self) -> None:
        """End what has begun of a node that cannot start, or is not to any more."""
        self._membership.abandon()
        await self._world.spawn.close()
        self.writer.close(None)
        self._read_pool.close()
        self._metadata.close()
        self._state.close()
