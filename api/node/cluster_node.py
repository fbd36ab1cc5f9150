"""A node among others: a part in the quorum, a registration, and replica streams.

At the start the node lets others in, then finds the quorum: by its own metadata, or, with an empty
directory, by its seeds. It registers, hosts what the metadata give it, and speaks with the other
replicas. All of that may have to wait for other nodes, for as long as it takes. At the end it goes
the same way back: what it leads is handed over, nothing comes in any more, the last word is said,
and only then do quorum and links end.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from api.addresses import split_address
from api.broker.forward import Forwarding
from api.node.endpoints import endpoints_of
from api.node.membership import Others
from api.node.mending import Mending
from api.node.opening import remember
from api.node.parts import Parts
from api.node.peers import Peers
from api.node.world import PeerNet
from cluster.controller.bootstrap import Empty, Founder
from cluster.controller.image import Endpoint, MetadataDelta, MetadataImage
from cluster.controller.port import QuorumPort
from cluster.peer.hello import Hello
from cluster.peer.table import Family, Frame
from cluster.raft.voters import Voter
from cluster.shell.controller_bootstrap import Bootstrap, QuorumBook
from cluster.shell.controller_client import ControllerClient, Starting
from cluster.shell.controller_doors import PEER_LISTENER, ControllerDoors
from cluster.shell.controller_frames import ControllerFrames
from cluster.shell.controller_shell import ControllerShell
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.peer_answer import Answer
from cluster.shell.peer_network import Address
from cluster.shell.peer_pairs import PeerPairs
from cluster.shell.peer_states import PeerStates
from cluster.shell.raft_doors import Doors, storage_failed
from cluster.shell.raft_impostors import without_impostors
from cluster.shell.raft_member import EntriesForgotten
from cluster.shell.raft_quorum import RaftQuorum
from cluster.shell.raft_wire import receiver, sender
from cluster.shell.replica_port import ReplicaDoors
from cluster.shell.replica_streams import ReplicaStreams
from model.errors import DirectoryExit, DirectoryRefused, RequestError
from model.ids import NodeId, PartitionId, RegistrationEpoch

CATCH_UP_MS: Final = 4_000
"""For replicas that have just been started, if a partition rests on this node meanwhile."""
JUDGED_MS: Final = 10_000
"""For the controller's word on a directory that has forgotten entries; it is refused anyway."""
HAND_OVER_MS: Final = 6_000
"""For what this node leads; what nobody takes by then is without a leader for a moment."""


class ClusterNode:
    """An `api.node.membership.Membership`. Loop only."""

    def __init__(self, parts: Parts, net: PeerNet) -> None:
        """Speak with nobody yet. Before the first partition is hosted."""
        self._parts, self._world = parts, parts.world
        parts.writer.tell_written()
        self._identity = parts.opened.identity
        self._me = Voter(self._identity.node, self._identity.directory)
        self._peers = Peers(parts, net)
        links = self._peers.links
        self._pairs = PeerPairs(links, up=self._stream_up, lost=self._stream_lost)
        self._raft: RaftQuorum | None = None
        self._controller: ControllerShell | None = None
        self._streams: ReplicaStreams | None = None
        self._let_in_at: tuple[Endpoint, ...] = ()
        self._is_registered = False
        self._role_listeners: list[Callable[[HostedPartition], None]] = []
        self._pairs_up: dict[NodeId, None] = {}
        """Nodes to which a replica stream may begin."""
        seeds = parts.settings.cluster.seed_list
        self._bootstrap = Bootstrap(
            links,
            QuorumBook(
                self._world.disk,
                parts.metadata.run,
                self._me,
                has_asked=self._identity.registration_epoch > 0,
            ),
            Empty(self._identity.cluster_id, Founder(*self._me)),
            seeds=[Address(*split_address(seed)) for seed in seeds],
            clock=self._world.clock,
            note=self._world.note,
        )
        links.subscribe(self._bootstrap)
        self._frames = ControllerFrames(self._world.spawn, self._bootstrap.seed_answer)
        links.route(Family.CONTROLLER, self._frames.take)
        links.route(Family.REPLICA, self._replica)
        self._forwarding = Forwarding(
            self._me.node, links, self._world.spawn, controller=self._quorum_leader
        )
        links.route(Family.CALL, self._forwarding.take)
        links.subscribe(self._forwarding)
        self._state = PeerStates(links, self._world.spawn)
        self._mending = Mending(parts, links)

    @property
    def quorum(self) -> QuorumPort:
        """The metadata; there once the node has entered."""
        return self._shell.quorum

    @property
    def others(self) -> Others:
        """What use cases have of other nodes."""
        return Others(
            forwarding=self._forwarding,
            state=self._state,
            mending=self._mending,
            tell_roles=self._role_listeners.append,
            controller=self._quorum_leader,
        )

    def open(self) -> None:
        """Let others in; until this node knows a quorum, all they hear is that it is empty.

        Raises:
            DoorTaken: the address for other nodes cannot be had.
        """
        self._let_in_at = (Endpoint(PEER_LISTENER, *self._peers.listen()),)

    async def enter(self) -> None:
        """Find the quorum, register.

        Raises:
            DirectoryRefused: this node does not belong here.
            StorageFailed: the disk refused.
        """
        parts, world, settings = self._parts, self._world, self._parts.settings
        try:
            voters = await self._bootstrap.voters()
        except OSError as error:
            raise storage_failed(error) from error
        links = self._peers.links
        raft = self._raft = await RaftQuorum.open(
            Doors(
                disk=world.disk,
                clock=world.clock,
                rand=world.rand,
                run_blocking=parts.metadata.run,
                send=sender(links.say),
            ),
            settings.cluster,
            me=self._me,
            voters=voters,
            defaults=settings.topic_defaults,
        )
        steps = without_impostors(receiver(raft.step), links, lambda: raft.image)
        links.route(Family.RAFT, steps)
        self._bootstrap.follows(raft)
        shell = self._controller = self._make_controller(raft)
        self._streams = self._make_streams(shell)
        self._frames.serve(shell.service)
        world.spawn.start(self._take_part(raft, shell.client), "metadata quorum")
        registered = await shell.client.register(
            Starting(
                remembered=self._identity.registration_epoch,
                clean=self._mending.clean,
                endpoints=(*endpoints_of(settings, world.machine), *self._let_in_at),
                rack=settings.node.rack,
                version=world.version,
            )
        )
        self._is_registered = True
        self._streams.registered(registered.registration_epoch)
        raft.subscribe(self._applied)

    def begin(self) -> None:
        """Everything that is to be hosted is: speak with other nodes of it."""
        assert self._streams is not None, "NODE_HAS_ENTERED"
        self._streams.start()
        self._shell.isr.start()
        self._shell.recovered.start()

    def round_ended(self) -> None:
        """Tell the leaders of what is followed here how far the disk has come."""
        if self._streams is not None:
            self._streams.round_ended()

    async def leave(self) -> None:
        """Hand over what this node leads, partitions first: the controller decides on them."""
        if not self._is_registered:
            return
        client = self._shell.client
        await client.until_not_missed(patience_ms=CATCH_UP_MS)
        left = await client.leave(patience_ms=HAND_OVER_MS)
        self._world.note("cluster_left", leads=left)
        raft = self._raft
        if raft is None or not raft.leads:
            return
        for voter in raft.configuration.voters:
            if voter != self._me and self._peers.links.peer(voter.node) is not None:
                try:
                    await raft.transfer_leadership(voter.node)
                except RequestError as refused:
                    self._world.note("controller_not_taken", error=str(refused))
                else:
                    return

    async def depart(self) -> None:
        """Say the last word: from then on no other node counts on this one."""
        if self._is_registered:
            await self._shell.client.last_word()
        if self._streams is not None:
            self._streams.stop()

    async def stop(self) -> None:
        """End the quorum, then the links that it speaks by."""
        if self._controller is not None:
            self._controller.stop()
        if self._raft is not None:
            self._raft.stop()
            await self._raft.ended()
        await self._peers.stop()

    def abandon(self) -> None:
        """Be gone at once, in the middle of whatever is under way."""
        if self._streams is not None:
            self._streams.stop()
        if self._controller is not None:
            self._controller.stop()
        self._peers.abandon()

    async def _take_part(self, raft: RaftQuorum, client: ControllerClient) -> None:
        """Be a member of the quorum until the node stops.

        A directory that lacks what it once had is damaged, or an older copy of itself. Which of
        both, the controller tells when this node registers: its word goes before that of the files.
        """
        try:
            await raft.run()
        except EntriesForgotten:
            if not await client.is_refused(patience_ms=JUDGED_MS):
                raise

    def _quorum_leader(self) -> NodeId | None:
        return None if self._raft is None else self._raft.leader

    @property
    def _shell(self) -> ControllerShell:
        assert self._controller is not None, "NODE_HAS_ENTERED"
        return self._controller

    def _make_controller(self, raft: RaftQuorum) -> ControllerShell:
        parts, world = self._parts, self._world
        doors = ControllerDoors(
            me=self._peers.me,
            clock=world.clock,
            spawn=world.spawn,
            quorum=raft,
            links=self._peers.links,
            append_time=lambda: parts.append_clock.read(
                world.clock.monotonic_ms(), world.clock.wall_ms()
            ),
            settings=parts.settings.cluster,
            note=world.note,
            remember=self._remember,
            replaced=self._replaced,
        )
        return ControllerShell(
            doors,
            self._peers.addresses,
            self._peers.deaths,
            defaults=parts.settings.topic_defaults,
            isr_refused=self._isr_refused,
            end_of=self._mending.end_of,
        )

    def _make_streams(self, shell: ControllerShell) -> ReplicaStreams:
        parts = self._parts
        doors = ReplicaDoors(
            node=self._me.node,
            links=self._pairs,
            controller=shell.isr,
            clock=self._world.clock,
            append_clock=parts.append_clock,
            directory=parts.opened.directory,
            tick=parts.tick,
            read_pool=parts.read_pool,
            ask_writer=parts.writer.ask,
            ask_space=parts.writer.look_at_space,
            accepted=parts.memory.take,
            let_go=parts.memory.give_back,
            storage_failed=parts.storage_failed,
            halted=self._halted,
            damaged=self._mending.damaged,
        )
        self._mending.begin(shell.quorum)
        streams = ReplicaStreams(doors, parts.partitions)
        streams.subscribe(self._role_changed)
        for node in self._pairs_up:
            streams.stream_up(node)
        return streams

    # What links, quorum and controller tell.

    def _stream_up(self, node: NodeId) -> None:
        self._pairs_up[node] = None
        if self._streams is not None:
            self._streams.stream_up(node)

    def _stream_lost(self, node: NodeId) -> None:
        self._pairs_up.pop(node, None)
        if self._streams is not None:
            self._streams.stream_lost(node)

    def _replica(self, peer: Hello, frame: Frame, answer: Answer | None) -> None:
        """Take a frame of the replica family; said before there are streams, it is lost."""
        del answer
        if self._streams is not None:
            self._streams.incoming(peer.node, frame)

    def _applied(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Take over the epoch of a registration that had to be made anew."""
        del image
        for broker in delta.brokers:
            if broker.incarnation == self._peers.me.incarnation and self._streams is not None:
                self._streams.registered(broker.registration_epoch)

    def _isr_refused(self, partition: PartitionId, based_on: int) -> None:
        if self._streams is not None:
            self._streams.isr_refused(partition, based_on)

    async def _remember(self, epoch: RegistrationEpoch) -> None:
        known = self._identity._replace(registration_epoch=epoch)
        await self._parts.metadata.run(partial(remember, self._world.disk, known))

    def _replaced(self, why: str) -> None:
        self._parts.failed(DirectoryRefused(DirectoryExit.FENCED, why))

    def _halted(self, partition: PartitionId, why: str) -> None:
        topic = partition.topic.hex()
        self._world.note("replica_halted", topic_id=topic, partition=partition.number, why=why)

    def _role_changed(self, partition: HostedPartition) -> None:
        self._world.note(
            "partition_led" if partition.leads else "partition_left",
            topic=partition.topic.name,
            partition=partition.number,
            leader_epoch=partition.leader_epoch,
        )
        for listener in self._role_listeners:
            listener(partition)
