"""The composition root of one node: the only place that constructs implementations.

Order at start: the log directory is recovered, the metadata log opened, the node registered, its
partitions hosted; then doors may open. Order at stop: doors drain, what was accepted is written,
a checkpoint covers it, the directory is marked clean.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from api.broker.broker import Broker
from api.broker.context import BrokerContext
from api.broker.damage import Damage, Note
from api.broker.group_state import GroupState
from api.broker.housekeeping import Housekeeping
from api.broker.memory import MemoryBudget
from api.broker.scrubber import Scrubber
from api.loop_lag import LoopLag
from api.node.plug import plug_groups
from api.settings import NodeSettings
from cluster.controller.brokers import FormCluster, RegisterBroker
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.topics import TopicRemoved
from cluster.raft.voters import Voter
from cluster.shell.disk_writer import DiskWriter
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.one_voter import Doors as QuorumDoors
from cluster.shell.one_voter import OneVoter
from cluster.shell.partitions import Partitions
from cluster.shell.tick import Tick
from cluster.shell.worker import MakeWorker, Worker
from logstore.append_clock import AppendClock
from logstore.identity import UUID_BYTES, Identity
from logstore.identity import decode as decode_identity
from logstore.identity import encode as encode_identity
from logstore.log_directory import LogDirectory, Opened
from logstore.partition_log import PartitionLog
from logstore.paths import IDENTITY
from logstore.replace_file import read_file, replace_file
from logstore.round import RoundResult
from model.errors import MalformedError, RequestError, StorageFailed
from model.ids import NodeId, PartitionId, RegistrationEpoch, TopicId
from model.ports import Clock, Disk, Rand, Spawn

HOUSEKEEPING_MS: Final = 60_000
"""How often retention and expiry are looked at."""
CLUSTER_ID_BYTES: Final = 8
ANSWERS_SHARE: Final = 4
"""One part in so many of the memory budget is for answers, the rest for what comes in."""


class OwnedSpawn(Spawn, Protocol):
    """Tasks of this node alone, which end with it."""

    def __len__(self) -> int:
        """Return how many run."""
        ...

    async def close(self) -> None:
        """Cancel every task and wait until all have ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The doors to the world that a node is given; a test's and the simulator's have the same."""

    disk: Disk
    clock: Clock
    rand: Rand
    spawn: OwnedSpawn
    memory_bytes: int
    """What request and answer buffers may take together (P53)."""
    version: str
    note: Note
    """Writes a line of the node's log."""
    workers: MakeWorker = Worker
    """Makes what waits for the disk beside the loop."""


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
        self._quorum: OneVoter | None = None
        self._watches_removals = False
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
            opened = await opening.run(partial(_open, settings, world))
        finally:
            opening.close()
        node = cls(settings, world, opened=opened, failed=failed)
        await node._join()
        return node

    @property
    def broker(self) -> Broker:
        """The use cases; there once the node has started."""
        assert self._broker is not None, "NODE_HAS_STARTED"
        return self._broker

    async def _join(self) -> None:
        """Open the metadata, say that this node is here, host what it is to host."""
        identity = self._opened.identity
        doors = QuorumDoors(
            disk=self._world.disk,
            clock=self._world.clock,
            rand=self._world.rand,
            run_blocking=self._metadata.run,
        )
        quorum = await OneVoter.open(
            doors,
            self.settings.cluster,
            me=Voter(self.node_id, identity.directory),
            defaults=self.settings.topic_defaults,
        )
        self._quorum = quorum
        self._world.spawn.start(quorum.run(), "metadata quorum")
        await quorum.propose(FormCluster(cluster_id=identity.cluster_id))
        registered = await quorum.propose(
            RegisterBroker(
                node=self.node_id,
                directory=identity.directory,
                clean=self._opened.clean,
                rack=self.settings.node.rack,
                version=self._world.version,
            )
        )
        known = identity._replace(registration_epoch=registered.registration_epoch)
        await self._metadata.run(partial(_remember, self._world.disk, known))
        self._host(quorum)
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
            cluster=self.settings.cluster,
            groups=self.settings.groups,
            failed=self._storage_failed,
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

    def _host(self, quorum: OneVoter) -> None:
        image = quorum.image
        self.partitions.load(image.topics_by_id.values())
        for partition in list(self.directory.partitions):
            if partition.topic in image.deleted:
                self.directory.delete(partition)
        # A crash soon after its topic was made leaves a partition nothing but a directory.
        found = (*self._opened.stray, *self.directory.partitions)
        known = image.topics_by_id.keys() | image.deleted
        self.stray = tuple(partition for partition in found if partition.topic not in known)
        quorum.subscribe(self._apply)
        self._watch_removals(quorum)

    def _apply(self, image: MetadataImage, delta: MetadataDelta) -> None:
        self.partitions.apply(image, delta)
        note = self._world.note
        for topic in delta.created:
            note("topic_created", topic=topic.name, partitions=len(topic.partitions))
        for topic in delta.changed:
            note("topic_changed", topic=topic.name, partitions=len(topic.partitions))
        for topic_id in delta.deleted:
            note("topic_deleted", topic_id=topic_id.hex())
        if delta.deleted and self._quorum is not None:
            self._watch_removals(self._quorum)

    def _watch_removals(self, quorum: OneVoter) -> None:
        """See to it that the controller hears when no file of a deleted topic is left."""
        if quorum.image.deleted and not self._watches_removals:
            self._watches_removals = True
            self._world.spawn.start(self._tell_removals(quorum), "topics removed")

    async def _tell_removals(self, quorum: OneVoter) -> None:
        """Tell of each topic, not before a checkpoint has removed the last of its files.

        What cannot be told now is told after the next deletion, or the next start.
        """
        try:
            while deleted := quorum.image.deleted:
                await self.writer.until(partial(self._are_removed, deleted))
                for topic_id in sorted(deleted):
                    await quorum.propose(TopicRemoved(topic_id=topic_id))
        except RequestError as refusal:
            if not refusal.code.retryable:
                raise
        finally:
            self._watches_removals = False

    def _are_removed(self, topics: Collection[TopicId]) -> bool:
        return not any(partition.topic in topics for partition in self.directory.removing)

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
        if self._quorum is not None:
            self._quorum.stop()
            await self._quorum.ended()  # what it still committed is written as well
        await self.settle()
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


def _open(settings: NodeSettings, world: World) -> Opened:
    """Recover the directory and take it for this process. Blocks.

    A directory that has an identity keeps its cluster; an empty one begins a cluster of its own.
    """
    cluster_id = world.rand.randbytes(CLUSTER_ID_BYTES).hex()
    try:
        file = read_file(world.disk, IDENTITY)
    except OSError as error:
        raise StorageFailed(IDENTITY, error.errno or 0, "open") from error
    if file is not None:
        try:
            cluster_id = decode_identity(file).cluster_id
        except MalformedError:
            pass  # opening refuses the directory, and says why
    wanted = Identity(
        world.rand.randbytes(UUID_BYTES), cluster_id, NodeId(settings.node.id), RegistrationEpoch(0)
    )
    return LogDirectory.open(
        world.disk,
        settings.log,
        rand=world.rand,
        now_wall=world.clock.wall_ms(),
        identity=wanted,
    )


def _remember(disk: Disk, identity: Identity) -> None:
    """Keep the registration epoch: a restored old image of the directory is told by it (P47)."""
    replace_file(disk, IDENTITY, encode_identity(identity))
    # SYNC: the next start must know what the controller was told.
    disk.sync_directory("")
