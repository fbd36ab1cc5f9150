"""What rounds and checkpoints of one log directory know in common. Loop only.

Invariants:
    PARTITION_CREATED_ONCE    a partition exists once.
"""

from logstore.journal import Journal
from logstore.partition_log import PartitionLog
from logstore.read_cache import ReadCache
from logstore.round import Run
from logstore.segment import Segment
from logstore.settings import LogSettings
from logstore.stretches import Stretches
from model.ids import AppendTimeMs, MonotonicMs, PartitionId


class DirectoryState:
    """Bookkeeping; `RoundPlanner` and `CheckpointPlanner` decide on it."""

    def __init__(
        self, settings: LogSettings, journal: Journal, *, clock_floor: AppendTimeMs
    ) -> None:
        """Begin with no partition."""
        self.settings = settings
        self.journal = journal
        self.cache = ReadCache(settings)
        self.stretches = Stretches()
        self.partitions: dict[PartitionId, PartitionLog] = {}
        self.dirties: list[PartitionLog] = []
        """Have something for the next round; each once."""
        self.waiting: dict[PartitionLog, None] = {}
        """Have something that must not be written before a checkpoint."""
        self.unfiled: dict[PartitionLog, list[Run]] = {}
        """Runs that the journal has and the files do not; oldest first."""
        self.unfiled_bytes = 0
        self.wanted: dict[PartitionLog, None] = {}
        """To be in the next checkpoint, soon."""
        self.unsaved: dict[PartitionLog, None] = {}
        """Have no row yet, or something above it."""
        self.deleting: dict[PartitionId, PartitionLog] = {}
        """Deleted, as far as anyone can see; their files may be there."""
        self.deleted: dict[PartitionId, str] = {}
        """Those whose DELETE is durable, with their directories."""
        self.rows: dict[PartitionId, bytes] = {}
        """Each partition's newest row, encoded."""
        self.tombstones: dict[PartitionId, int] = {}
        self.forget: list[str] = []
        """Files that the writer should not hold open any more."""
        self.directories_changed = False
        """Directories of partitions were made since `partitions` was synced."""
        self.clock: AppendTimeMs | None = None
        """To be reserved by the next round."""
        self.clock_floor = clock_floor
        """What is reserved durably."""
        self.journal_bytes = 0
        """Written since the last full checkpoint."""
        self.journal_full = False
        """A round found no room: files must be covered, or made."""
        self.journaled_since: MonotonicMs | None = None
        """When the first of those bytes were written."""
        self.async_due: MonotonicMs | None = None
        """When the oldest bytes that only files carry must be synced."""

    def dirty(self, log: PartitionLog) -> None:
        """A partition has something for the next round."""
        self.dirties.append(log)

    def checkpoint_wanted(self, log: PartitionLog) -> None:
        """A partition is to be in the next checkpoint. Nobody reads what it has trimmed."""
        for segment in log.upkeep.trimmed:
            self.cache.forget(segment)
        self.wanted[log] = None

    def reading(self, segment: Segment) -> None:
        """A segment's file or rows are being used."""
        self.cache.use(segment)

    def add(self, log: PartitionLog) -> None:
        """Take a partition that exists now."""
        assert log.id not in self.partitions, "PARTITION_CREATED_ONCE"
        self.partitions[log.id] = log

    def delete(self, partition: PartitionId) -> None:
        """Forget a partition; if anything of it was written, a round makes that durable."""
        log = self.partitions.pop(partition)
        log.deleted = True
        log.pending.clear()
        for segment in (*log.segment_list, *log.upkeep.trimmed):
            self.cache.forget(segment)
        self.cache.tails_bytes -= log.upkeep.tail_counted
        self.waiting.pop(log, None)
        if log.upkeep.directory_made:
            self.deleting[partition] = log
            log.touch()

    def is_blocked(self, log: PartitionLog) -> bool:
        """Another partition with the same id must be gone first."""
        return not log.deleted and log.id in self.deleting

    def is_forgotten(self, log: PartitionLog) -> bool:
        """It was deleted before anything of it was written."""
        return log.deleted and self.deleting.get(log.id) is not log
