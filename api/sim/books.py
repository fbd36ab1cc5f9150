"""What must hold after every event of a run of whole nodes; the first breach ends it.

After each pass of a process, what its replicas and its part of the quorum show is held against what
was seen before:

    ONE_LEADER_AN_EPOCH          no two nodes lead a partition in one epoch.
    EPOCHS_NEVER_FALL            the epoch of a replica only rises within a life.
    MARK_NEVER_FALLS             a replica's high watermark never goes back within a life.
    SHOWN_MARK_NEVER_FALLS       what the newest leader shows never goes back.
    COMMITTED_IS_FOREVER         below the high watermark every replica holds the same batches.
    COMMITTED_IS_FLUSHED         the mark passes a record once min.insync.replicas disks have it.
    MARK_IS_A_LEADERS            no follower knows of more than a leader has committed.
    LEADER_HOLDS_COMMITTED       whoever leads holds all that is committed.
    CANDIDATE_HOLDS_COMMITTED    so does each clean candidate that runs.
    FLUSHED_SURVIVES             what a replica called flushed is there in the next life.
    ONE_LEADER_A_TERM            no two nodes lead the quorum in one term.
    VOTES_ARE_DURABLE            see `api.sim.votes`.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple
from zlib import crc32

from api.sim.breach import Breach
from api.sim.disk import SimDisk
from api.sim.process import Process
from api.sim.stored import stored
from api.sim.votes import Votes
from cluster.controller.image import MetadataImage, PartitionImage
from cluster.shell.hosted_partition import HostedPartition
from model.ids import PartitionId, TopicName
from model.record import BatchHeader


class Shown(NamedTuple):
    """What a replica shows."""

    epoch: int
    mark: int
    end: int
    leads: bool
    serves: bool


class _Row:
    """What is known of one partition, by everybody."""

    __slots__ = ("batches", "committed", "leaders", "shown", "shown_epoch")

    def __init__(self) -> None:
        self.batches: dict[int, tuple[int, int]] = {}
        """Base offset to the next batch's and CRC, of what is committed."""
        self.committed = 0
        self.leaders: dict[int, int] = {}
        self.shown = self.shown_epoch = 0


class Books:
    """See the module."""

    def __init__(self, disks: Mapping[int, SimDisk], running: Callable[[], list[Process]]) -> None:
        """Begin before the first process."""
        self._running = running
        self._votes = Votes(disks)
        self._rows: dict[PartitionId, _Row] = {}
        self._shown: dict[Process, dict[HostedPartition, Shown]] = {}
        self._flushed: dict[int, dict[PartitionId, int]] = {number: {} for number in disks}
        """As the last process of each machine called it, when it ended."""
        self._image = MetadataImage()
        self._terms: dict[int, int] = {}
        self._to_judge: dict[Process, None] = {}
        """Who leads the quorum, as it says; looked at as soon as it shows its term."""
        self.happened: Counter[str] = Counter()

    def committed(self, topic: str, number: int) -> int:
        """Return the first offset of a partition that is not committed."""
        known = self._image.topics.get(TopicName(topic))
        row = None if known is None else self._rows.get(PartitionId(known.topic_id, number))
        return 0 if row is None else row.committed

    def ended(self, process: Process) -> None:
        """A process has ended: what it called flushed must be there when the next one begins."""
        self._votes.look(process.number)
        if process.node is not None:
            flushed = self._flushed[process.number]
            for hosted in process.node.partitions:
                flushed[hosted.id] = int(hosted.log.flushed_end)
        self._shown.pop(process, None)
        self._to_judge.pop(process, None)

    def look(self, process: Process) -> None:
        """Look at a process after a pass.

        Raises:
            Breach: something does not hold.
        """
        self._votes.look(process.number)
        node = process.node
        if node is None:
            return
        image = node.broker.context.quorum.image
        if image.applied > self._image.applied:
            self._image = image
        shown = self._shown.setdefault(process, {})
        for hosted in node.partitions:
            now = (
                hosted.leader_epoch, hosted.high_watermark, hosted.log.log_end,
                hosted.leads, hosted.serves,
            )  # fmt: skip
            self.happened["written before synced"] += (
                hosted.log.written_end > hosted.log.flushed_end
            )
            before = shown.get(hosted)
            if now != before:
                self._changed(process, hosted, before, now=Shown(*now))
                shown[hosted] = Shown(*now)
        if "controller_active" in process.events:
            self._to_judge[process] = None
        if process in self._to_judge:
            self._leads_quorum(process)

    def _changed(
        self, process: Process, hosted: HostedPartition, before: Shown | None, *, now: Shown
    ) -> None:
        row = self._rows.setdefault(hosted.id, _Row())
        what = _named(process, hosted)
        if before is None:
            self._recovered(process, hosted)
            before = now._replace(mark=int(hosted.log_start), leads=False)
        if now.epoch < before.epoch:
            raise Breach("EPOCHS_NEVER_FALL", f"{what}: from {before.epoch} to {now.epoch}")
        if now.mark < before.mark:
            raise Breach("MARK_NEVER_FALLS", f"{what}: from {before.mark} to {now.mark}")
        if now.end < before.end:
            self.happened["cut"] += 1
        if now.leads:
            self._leads(process, hosted, now)
        if now.mark > before.mark:
            if now.leads:
                self._commits(process, hosted, now.mark)
            elif now.mark > row.committed:
                seen = f"{what}: {now.mark}, and {row.committed} is committed"
                raise Breach("MARK_IS_A_LEADERS", seen)
            self._agrees(process, hosted, before.mark, to=now.mark)
            row.committed = max(row.committed, now.mark)
            self._candidates_hold(hosted.id, row.committed)
        if now.leads and now.serves:
            self._serves(process, hosted, now)

    def _recovered(self, process: Process, hosted: HostedPartition) -> None:
        """A process shows a replica for the first time."""
        flushed = self._flushed[process.number].get(hosted.id, 0)
        if hosted.log.log_end < flushed:
            seen = f"{_named(process, hosted)}: {flushed} before, {hosted.log.log_end} now"
            raise Breach("FLUSHED_SURVIVES", seen)

    def _leads(self, process: Process, hosted: HostedPartition, now: Shown) -> None:
        row, what = self._rows[hosted.id], _named(process, hosted)
        first = row.leaders.setdefault(now.epoch, process.number)
        if not self._shown[process].get(hosted, now).leads and now.epoch > 0:
            self.happened["led anew"] += 1
        if first != process.number:
            seen = f"{what} and node {first} lead in epoch {now.epoch}"
            raise Breach("ONE_LEADER_AN_EPOCH", seen)
        newest = now.epoch == max(row.leaders)
        if newest and hosted.log.log_end < row.committed:
            seen = f"{what}: {hosted.log.log_end}, and {row.committed} is committed"
            raise Breach("LEADER_HOLDS_COMMITTED", seen)

    def _serves(self, process: Process, hosted: HostedPartition, now: Shown) -> None:
        row = self._rows[hosted.id]
        if now.epoch < row.shown_epoch:
            return  # deposed, and has not heard of it
        if now.mark < row.shown:
            seen = f"{_named(process, hosted)}: from {row.shown} to {now.mark}"
            raise Breach("SHOWN_MARK_NEVER_FALLS", seen)
        row.shown, row.shown_epoch = now.mark, now.epoch

    def _commits(self, process: Process, hosted: HostedPartition, mark: int) -> None:
        """A leader's mark has moved: enough disks hold what is below it."""
        needed = len(hosted.topic.partitions[hosted.number].replicas) // 2 + 1
        flushed = {number: rows.get(hosted.id, 0) for number, rows in self._flushed.items()}
        for one in self._running():
            if one.node is not None and (here := one.node.partitions.by_id(hosted.id)) is not None:
                flushed[one.number] = int(here.log.flushed_end)
        if sum(end >= mark for end in flushed.values()) < needed:
            seen = f"{_named(process, hosted)}: {mark}, and flushed are {flushed}"
            raise Breach("COMMITTED_IS_FLUSHED", seen)

    def _agrees(self, process: Process, hosted: HostedPartition, start: int, *, to: int) -> None:
        """Hold what a replica has below its mark against what was committed before."""
        batches, disk = self._rows[hosted.id].batches, process.doors.disk
        hook, disk.before = disk.before, None  # it is not the process that reads here
        try:
            found = list(stored(hosted.log, start, to))
        finally:
            disk.before = hook
        for batch in found:
            header, crc = BatchHeader(batch), crc32(batch)
            base, following = int(header.base_offset), int(header.end_offset)
            known = batches.setdefault(base, (following, crc))
            if known != (following, crc):
                seen = f"{_named(process, hosted)} at {base}: not what others hold"
                raise Breach("COMMITTED_IS_FOREVER", seen)

    def _candidates_hold(self, partition: PartitionId, committed: int) -> None:
        row = _row_of(self._image, partition)
        if row is None:
            return
        for process in self._running():
            if not process.has_joined or process.number in row.marked or process.node is None:
                continue
            hosted = process.node.partitions.by_id(partition)
            if process.number in row.candidates and hosted is not None:
                if hosted.log.log_end < committed:
                    seen = f"{_named(process, hosted)}: {hosted.log.log_end} of {committed}"
                    raise Breach("CANDIDATE_HOLDS_COMMITTED", seen)

    def _leads_quorum(self, process: Process) -> None:
        status = process.up.broker.context.quorum.status
        if "controller_inactive" in process.events:
            del self._to_judge[process]
            return
        if status.leader != process.number:
            return
        del self._to_judge[process]
        first = self._terms.setdefault(status.term, process.number)
        if first != process.number:
            seen = f"nodes {first} and {process.number} lead in term {status.term}"
            raise Breach("ONE_LEADER_A_TERM", seen)
        self._votes.leads(process.number, status.term)


def _row_of(image: MetadataImage, partition: PartitionId) -> PartitionImage | None:
    topic = image.topics_by_id.get(partition.topic)
    return None if topic is None else topic.partitions[partition.number]


def _named(process: Process, hosted: HostedPartition) -> str:
    return f"node {process.number}, {hosted.topic.name}/{hosted.number}"
