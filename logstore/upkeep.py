"""What rounds and checkpoints keep in mind about the files of one partition. Loop only."""

from logstore.segment import Segment
from model.ids import Offset


class Upkeep:
    """Nothing here is seen by readers or writers of the log."""

    __slots__ = (
        "checkpointing",
        "directory_made",
        "exists",
        "names_changed",
        "snapshot_bytes",
        "snapshots",
        "sound_snapshot",
        "tail_counted",
        "trimmed",
        "unsynced_since",
    )

    def __init__(self) -> None:
        """Begin with a partition that has no file."""
        self.directory_made = self.exists = False
        """A round was told to make the directory; it has."""
        self.names_changed = False
        """Files were removed since the directory was synced."""
        self.checkpointing: list[tuple[Segment, int, int]] | None = None
        """What a checkpoint in flight makes durable: bytes of `.log` and `.times`."""
        self.trimmed: list[Segment] = []
        """Wholly below the log start; their files go after the next checkpoint."""
        self.snapshots: list[Offset] = []
        """Offsets of the producer snapshots on disk, oldest first."""
        self.sound_snapshot: Offset | None = None
        """The newest of them that was synced since this start: no other file takes its name."""
        self.snapshot_bytes = 0
        """Accepted since the newest of them, filed or not."""
        self.unsynced_since: int | None = None
        """Monotonic ms of the oldest append that only the files carry."""
        self.tail_counted = 0
        """Bytes of the tail that the sum over all partitions includes."""
