"""Between those who meet damage on this node, and the repairs that fetch it from other nodes.

What a start has found lost or damaged counts from the first moment on: such a node registers as one
that was not stopped in order, whatever its last stop was, and tells elections only of what it has
whole (P3, P45).
"""

from collections.abc import Callable, Sequence

from api.node.parts import Parts
from cluster.controller.image import NO_EPOCH, LogEnd
from cluster.controller.leadership import TransferLeader
from cluster.controller.port import QuorumPort
from cluster.shell.hosted_partition import HostedPartition
from cluster.shell.peer_links import PeerLinks
from cluster.shell.peer_repairs import PeerRepairs
from cluster.shell.repair_port import RepairDoors
from cluster.shell.repairs import Repairs
from logstore.segment import Segment
from logstore.whole_end import lost_files, whole_end
from model.errors import RequestError
from model.ids import NodeId, Offset, PartitionId


class Mending:
    """See the module. Loop only."""

    def __init__(self, parts: Parts, links: PeerLinks) -> None:
        """Take what other nodes ask; before the first link."""
        self._parts = parts
        self._links = PeerRepairs(links)
        self._lost = lost_files(parts.opened.report)
        self._lost_any = bool(self._lost)
        self._quorum: QuorumPort | None = None
        self._repairs: Repairs | None = None
        self._leaving: set[PartitionId] = set()
        """Of which another replica is being asked to lead."""
        self._collect: Callable[[HostedPartition], None] = _nobody
        self._mended: Callable[[HostedPartition, Segment], None] = _nobody_else
        self._gone: Callable[[HostedPartition, Segment], None] = _nobody_else

    @property
    def clean(self) -> bool:
        """Whether this node has all that it had when it was stopped in order."""
        return self._parts.opened.clean and not self._lost_any

    def begin(self, quorum: QuorumPort) -> None:
        """Repair, and answer other nodes, from here on."""
        parts, world = self._parts, self._parts.world
        self._quorum = quorum
        doors = RepairDoors(
            node=parts.opened.identity.node,
            clock=world.clock,
            spawn=world.spawn,
            disk=world.disk,
            writer=parts.writer,
            read_pool=parts.read_pool,
            claim=parts.opened.directory.claim,
            links=self._links,
            note=world.note,
            hand_over=self._hand_over,
            mended=self._told,
            gone=self._removed,
        )
        repairs = self._repairs = Repairs(doors, parts.partitions)
        self._links.serve(repairs.serve)

    def tell(
        self,
        *,
        collect: Callable[[HostedPartition], None],
        mended: Callable[[HostedPartition, Segment], None],
        gone: Callable[[HostedPartition, Segment], None],
    ) -> None:
        """Call `collect` where a segment may be damaged, the others when it is so no more."""
        self._collect, self._mended, self._gone = collect, mended, gone

    def found(self, hosted: HostedPartition, segment: Segment) -> None:
        """Repair a segment in which somebody has met damage."""
        if self._repairs is not None:
            self._repairs.found(hosted, segment)

    def damaged(self, partition: PartitionId) -> None:
        """What a follower needs is damaged here."""
        hosted = self._parts.partitions.by_id(partition)
        if hosted is not None:
            self._collect(hosted)

    def end_of(self, partition: PartitionId) -> LogEnd:
        """Return up to where this node has a log whole, for an election that waits for it."""
        log = self._parts.opened.directory.partitions.get(partition)
        if log is None:
            return LogEnd(NO_EPOCH, Offset(0))
        end = whole_end(log, self._lost)
        latest = log.leader_epochs.epoch_at(Offset(end - 1)) if end > log.log_start else None
        if end == log.log_end:
            latest = log.leader_epochs.latest
        return LogEnd(NO_EPOCH if latest is None else latest, end)

    def _told(self, hosted: HostedPartition, segment: Segment) -> None:
        self._forget(segment)
        self._mended(hosted, segment)

    def _removed(self, hosted: HostedPartition, segment: Segment) -> None:
        self._forget(segment)
        self._gone(hosted, segment)

    def _forget(self, segment: Segment) -> None:
        self._lost -= {segment.log_name}  # another one may get its name

    def lacking(self, hosted: HostedPartition, why: str) -> None:
        """Note that this node lacks the state of an internal topic's partition.

        What its replay has met is repaired: nobody else reads that log, and the scrub seldom.
        """
        self._collect(hosted)
        note = self._parts.world.note
        note("state_lacking", topic=hosted.topic.name, partition=hosted.number, why=why)

    def let_lead(self, hosted: HostedPartition, others: Sequence[NodeId]) -> None:
        """Have one of these replicas lead a partition whose state this node lacks.

        To be called again as long as none does; while it is being asked, that does nothing.
        """
        if hosted.log.id not in self._leaving:
            self._leaving.add(hosted.log.id)
            doing = self._one_leads(hosted, others)
            self._parts.world.spawn.start(doing, "leadership of a state that is not here")

    async def _one_leads(self, hosted: HostedPartition, others: Sequence[NodeId]) -> None:
        try:
            for node in others:
                if await self._moved(hosted, node) is None:
                    note, name = self._parts.world.note, hosted.topic.name
                    note("state_handed_over", topic=name, partition=hosted.number, to=node)
                    return
        finally:
            self._leaving.discard(hosted.log.id)

    async def _hand_over(self, hosted: HostedPartition, to: NodeId) -> None:
        refused = await self._moved(hosted, to)
        if refused is not None:  # it goes on leading, and is repaired all the same
            note, name, why = self._parts.world.note, hosted.topic.name, refused.detail
            note("repair_not_handed_over", topic=name, partition=hosted.number, node=to, why=why)

    async def _moved(self, hosted: HostedPartition, to: NodeId) -> RequestError | None:
        """Have another replica lead; return why it does not: it is away, perhaps."""
        quorum = self._quorum
        assert quorum is not None, "NODE_HAS_ENTERED"
        move = TransferLeader(topic=hosted.topic.name, number=hosted.number, to=to)
        try:
            await quorum.propose(move)
        except RequestError as refused:
            return refused
        return None


def _nobody(hosted: HostedPartition) -> None:
    """Nobody keeps count of damage yet."""


def _nobody_else(hosted: HostedPartition, segment: Segment) -> None:
    """Nobody keeps count of damage yet."""
