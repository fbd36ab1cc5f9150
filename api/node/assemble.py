"""The composition root of one node: the only place that constructs implementations.

Order at start: the log directory is recovered, the metadata log opened, the node registered, its
partitions hosted; then doors may open. Order at stop: doors drain, what was accepted is written,
a checkpoint covers it, the directory is marked clean.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from api.broker.broker import Broker
from api.broker.context import BrokerContext
from api.broker.damage import Damage
from api.broker.group_state import GroupState
from api.broker.housekeeping import Housekeeping
from api.broker.memory import MemoryBudget
from api.broker.scrubber import Scrubber
from api.loop_lag import LoopLag
from api.node.alone import Alone
from api.node.cluster_node import ClusterNode
from api.node.hosting import Hosting
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
"""One part in so many of the memory budget is for answers, the rest for what comes in."""


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
        self.directory: LogDirectory = opened.directory
        self._world = world
        self._failed = failed
        self._read_pool = world.workers(
            "read", loop.call_soon_threadsafe, threads=settings.limits.read_threads
        )
        self._metadata = world.workers("metadata", loop.call_soon_threadsafe)
        self._state = world.workers("state", loop.call_soon_threadsafe)
        self.append_clock = AppendClock(
            opened.clock_floor, world.clock.wall_ms(), world.clock.monotonic_ms()
        )
        self.writer = DiskWriter(
            self.directory,
            clock=world.clock,
            tick=self.tick,
            worker=lambda name: world.workers(name, loop.call_soon_threadsafe),
            ended=self._written,
            failed=self._storage_failed,
        )
        self.node_id = NodeId(settings.node.id)
        self.partitions = Partitions(
            self.node_id,
            directory=self.directory,
            clock=world.clock,
            replica_lag_ms_max=settings.cluster.replica_lag_ms_max,
            changed=self.writer.ask,
            dropped=self._dropped,
        )
        answers_bytes = world.memory_bytes // ANSWERS_SHARE
        self.memory = MemoryBudget(world.memory_bytes - answers_bytes, "wait for the disk")
        self.answers = MemoryBudget(answers_bytes, "are on their way to readers")
        self._opened = opened
        self._membership = self._member(settings, world)
        self._broker: Broker | None = None
        self._groups: GroupState | None = None
        self._housekeeping: Housekeeping | None = None
        self.scrubber: Scrubber | None = None
        """Reads closed segments again; there once the node has started."""

    @classmethod
    async def start(
        cls, settings: NodeSettings, world: World, *, failed: Callable[[BaseException], None]
    ) -> "Node":
        """Recover, open the metadata, host the partitions; doors may open when this returns.

        `failed` is told of what ends the node while it runs.

        Raises:
            DirectoryRefused: in use, another's, damaged, or of a newer format: nothing was changed.
            StorageFailed: the disk refused.
        """
        opening = world.workers("opening", asyncio.get_running_loop().call_soon_threadsafe)
        try:
            opened = await opening.run(partial(open_directory, settings, world))
        finally:
            opening.close()
        node = cls(settings, world, opened=opened, failed=failed)
        joined = False
        try:
            await node._join()
            joined = True
        finally:
            if not joined:
                await node._give_up()
        return node

    @property
    def broker(self) -> Broker:
        """The use cases; there once the node has started."""
        assert self._broker is not None, "NODE_HAS_STARTED"
        return self._broker

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

    async def _join(self) -> None:
        """Enter the cluster, host what is to be hosted, make the use cases."""
        membership = self._membership
        await membership.enter()
        quorum = membership.quorum
        hosting = Hosting(
            quorum,
            self.partitions,
            opened=self._opened,
            writer=self.writer,
            spawn=self._world.spawn,
            note=self._world.note,
        )
        self.stray = hosting.begin()
        membership.begin()
        others = membership.others
        context = BrokerContext(
            node=self.node_id,
            clock=self._world.clock,
            rand=self._world.rand,
            tick=self.tick,
            spawn=self._world.spawn,
            append_clock=self.append_clock,
            directory=self.directory,
            writer=self.writer,
            read_pool=self._read_pool,
            memory=self.memory,
            answers=self.answers,
            partitions=self.partitions,
            quorum=quorum,
            damage=Damage(self.partitions, self._world.note),
            note=self._world.note,
            forwarding=None if others is None else others.forwarding,
            controller=None if others is None else others.controller,
            replicas_wanted=self.settings.cluster.replicas_wanted,
        )
        context.damage.recovered(self.report.repaired)
        await self._serve(context)
        await self.writer.flushed()

    async def _serve(self, context: BrokerContext) -> None:
        """Restore the coordinators, make the use cases, begin what the node does by itself."""
        groups = self._groups = plug_groups(
            context,
            disk=self._world.disk,
            worker=self._state,
            settings=self.settings,
            failed=self._storage_failed,
            others=self._membership.others,
        )
        self.report.repaired += await groups.restore()
        self._broker = Broker(
            context,
            self.settings.topics,
            self.settings.topic_defaults,
            groups_state=groups,
            group_defaults=self.settings.groups,
        )
        self._housekeeping = Housekeeping(
            context,
            self._broker.searches,
            period_ms=HOUSEKEEPING_MS,
            groups=self._broker.group_upkeep.tend,
        )
        self._housekeeping.start()
        self.scrubber = Scrubber(
            context, self.settings.log, disk=self._world.disk, rand=self._world.rand
        )
        self.scrubber.start()
        await self._broker.group_figures.start()
        await self._broker.members.start()
        self._broker.group_upkeep.start()

    def _written(self, result: RoundResult | None, logs: Sequence[PartitionLog]) -> None:
        """Answer whom a round or a checkpoint sets free; give back a round's memory."""
        if result is not None:
            self._round_ended(result)
        now = self._world.clock.monotonic_ms()
        for log in logs:
            partition = self.partitions.by_log(log)
            if partition is not None:
                for ack in partition.persisted(now):
                    ack.tell(None)
                if result is not None and self._housekeeping is not None:
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
        if self._broker is not None:
            self._broker.produce.fail(error)
            self._broker.groups_state.fail(error)
        self._failed(error)

    async def leave(self) -> None:
        """Hand over to other nodes what this one leads, before its doors close; it still serves."""
        await self._membership.leave()

    async def settle(self) -> None:
        """Wait until everything that has arrived is written and answered, or never will be."""
        if self._broker is not None:
            self._broker.produce.accept()
        await self.writer.flushed()

    async def stop(self, *, clean: bool) -> None:
        """End background work and threads; mark the directory clean if everything went well."""
        self._world.note("node_stopping", clean=str(clean).lower())
        if self._housekeeping is not None:
            self._housekeeping.stop()
        if self.scrubber is not None:
            self.scrubber.stop()
        if self._broker is not None:
            self._broker.members.stop()
            self._broker.group_upkeep.stop()
        await self._membership.depart()
        await self._membership.stop()
        await self.settle()  # what the metadata still committed is written as well
        if self._groups is not None:
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
