"""A node that is its whole cluster: the only voter, the only replica, and nobody to ask."""

from functools import partial

from api.node.lone_metadata import check_reaches
from api.node.opening import remember
from api.node.world import World
from api.settings import NodeSettings
from cluster.controller.brokers import FormCluster, RegisterBroker
from cluster.raft.voters import Voter
from cluster.shell.raft_doors import Doors
from cluster.shell.raft_quorum import RaftQuorum
from cluster.shell.worker import Worker
from logstore.log_directory import Opened


class Alone:
    """An `api.node.membership.Membership`. Loop only."""

    def __init__(
        self, settings: NodeSettings, world: World, *, opened: Opened, metadata: Worker
    ) -> None:
        """`metadata`: whose thread waits for the metadata's files."""
        self._settings, self._world, self._opened = settings, world, opened
        self._metadata = metadata
        self._quorum: RaftQuorum | None = None

    @property
    def quorum(self) -> RaftQuorum:
        """The metadata; there once the node has entered."""
        assert self._quorum is not None, "NODE_HAS_ENTERED"
        return self._quorum

    @property
    def others(self) -> None:
        """Nobody."""
        return

    def open(self) -> None:
        """Nobody comes."""

    async def enter(self) -> None:
        """Open the metadata, form the cluster if there is none, register.

        Raises:
            DirectoryRefused: the metadata are damaged, or not all there.
            OSError: the disk refused.
        """
        world, settings, identity = self._world, self._settings, self._opened.identity
        doors = Doors(
            disk=world.disk,
            clock=world.clock,
            rand=world.rand,
            run_blocking=self._metadata.run,
        )
        me = Voter(identity.node, identity.directory)
        quorum = self._quorum = await RaftQuorum.open(
            doors, settings.cluster, me=me, voters=(me,), defaults=settings.topic_defaults
        )
        check_reaches(quorum.image, identity)
        world.spawn.start(quorum.run(), "metadata quorum")
        await quorum.propose(FormCluster(cluster_id=identity.cluster_id))
        registered = await quorum.propose(
            RegisterBroker(
                node=identity.node,
                directory=identity.directory,
                clean=self._opened.clean,
                rack=settings.node.rack,
                version=world.version,
            )
        )
        known = identity._replace(registration_epoch=registered.registration_epoch)
        await self._metadata.run(partial(remember, world.disk, known))

    def begin(self) -> None:
        """Nobody is there to speak with."""

    def round_ended(self) -> None:
        """Nobody waits for that."""

    async def leave(self) -> None:
        """Nobody is there to take over."""

    async def depart(self) -> None:
        """Nobody is there to be told."""

    async def stop(self) -> None:
        """End the metadata."""
        if self._quorum is not None:
            self._quorum.stop()
            await self._quorum.ended()

    def abandon(self) -> None:
        """Nobody notices."""
