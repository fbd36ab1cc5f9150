"""Names inside a log directory: built from ids and offsets, never from what a client chose."""

from typing import Final

from model.ids import Offset, PartitionId, TopicId

PARTITIONS: Final = "partitions"
JOURNAL: Final = "journal"
IDENTITY: Final = "identity"
CHECKPOINT: Final = "checkpoint"
CLEAN: Final = "clean"
EPOCHS: Final = "epochs"
TEMPORARY: Final = ".tmp"
"""Ends the name of a file that is not yet whole; one that is found is left over from a crash."""

DAMAGED: Final = ".damaged"
"""Ends the name of a file that was put aside; one of a segment's is kept, the newest."""

LOG: Final = ".log"
TIMES: Final = ".times"
INDEX: Final = ".index"
SEGMENT_FILES: Final = (LOG, TIMES, INDEX, LOG + DAMAGED, TIMES + DAMAGED)
"""Endings of the files that one segment may have for long."""

GOING_FILES: Final = (*SEGMENT_FILES, LOG + TEMPORARY, TIMES + TEMPORARY)
"""And of those that may lie there when it goes: of a repair that has not ended."""

PRODUCERS: Final = ".producers"
STATE: Final = ".state"
"""Snapshot of the machine whose records an internal partition holds; its offset in the name."""
_WAL: Final = ".wal"


def partition_directory(partition: PartitionId) -> str:
    """Return where the files of a partition lie."""
    return f"{PARTITIONS}/{partition.topic.hex()}-{partition.number}"


def parse_partition(name: str) -> PartitionId | None:
    """Return the partition that a name below `partitions` stands for; None: it is not ours."""
    topic, _, number = name.partition("-")
    try:
        partition = PartitionId(TopicId(bytes.fromhex(topic)), int(number))
    except ValueError:
        return None
    return partition if partition_directory(partition) == f"{PARTITIONS}/{name}" else None


def by_offset(offset: Offset, ending: str) -> str:
    """Return the name of a file that begins at an offset: 20 digits, so that names sort."""
    return f"{offset:020d}{ending}"


def parse_offset(name: str, ending: str) -> Offset | None:
    """Return the offset that a file's name begins with; None if it is not of this kind."""
    digits = name.removesuffix(ending)
    if digits == name or len(digits) != 20 or not digits.isdecimal():
        return None
    return Offset(int(digits))


def journal_file(number: int) -> str:
    """Return the name of a journal file."""
    return f"{JOURNAL}/{number:08d}{_WAL}"


def parse_journal(name: str) -> int | None:
    """Return the number of a journal file; None if the name is another's."""
    digits = name.removesuffix(_WAL)
    return int(digits) if digits != name and digits.isdecimal() else None
