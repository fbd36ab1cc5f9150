"""The partition logs of one directory: rounds, checkpoints, creation and deletion.

The loop takes a round and hands it to the writer thread, takes a checkpoint and hands it to the
checkpointer thread, and gets both back to move positions. One round and one checkpoint at a time;
a checkpoint may run beside rounds, and covers only those that had ended when it was taken.

Invariants:
    ROUND_ONE_AT_A_TIME        positions come back in the order in which rounds were taken.
    CHECKPOINT_ONE_AT_A_TIME   so do rows.
    PARTITION_CREATED_ONCE     a partition exists once.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from logstore.checkpoint import encode_file
from logstore.checkpointer import Checkpointer
from logstore.flush import Room, entries_placed, finish_part, take_part
from logstore.identity import CleanMark, Identity, encode_clean
from logstore.journal import Journal
from logstore.opened import Opened, Recovered
from logstore.partition_checkpoint import finish, plan
from logstore.partition_log import PartitionLog
from logstore.paths import CLEAN
from logstore.recovery import recover
from logstore.replace_file import replace_file
from logstore.round import CheckpointJob, CheckpointResult, Part, Round, RoundResult
from logstore.round_writer import RoundWriter
from logstore.segment import Segment
from logstore.settings import Flush, LogSettings, PartitionSettings
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import AppendTimeMs, MonotonicMs, PartitionId, WallMs
from model.ports import Disk, Rand

CLOCK_ENTRY_BYTES: Final = 64
