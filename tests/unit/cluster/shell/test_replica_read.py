"""What a follower is sent from memory: each batch with the time at which it was appended."""

from collections.abc import Sequence

import pytest

from api.sim.disk import SimDisk
from cluster.shell.replica_read import Sent, read_batches
from logstore.partition_log import PartitionLog
from logstore.settings import KIB, PartitionSettings
from model.ids import Offset
from tests.unit.logstore.test_log_directory import TIME, append, opened, pid


def filled(times: Sequence[int], *, size: int = 10) -> PartitionLog:
    """Return a log in memory with a batch of each time, in segments of 4 KiB."""
    log = opened(SimDisk()).directory.create(pid(0), PartitionSettings(segment_bytes=4 * KIB))
    for time in times:
        append(log, size, TIME + time)
    return log


def sent(log: PartitionLog, offset: int = 0, size: int = 1 << 20) -> Sent:
    """Return what is read without a file."""
    found = read_batches(log, Offset(offset), size)
    assert isinstance(found, Sent)
    assert found.size_bytes == sum(len(batch.raw) for batch in found.batches)
    return found


@pytest.mark.parametrize(
    "times", [[0], [0, 0, 0], [0, 10], [0, 0, 10], [0, 10, 10], [0, 10, 10, 20]]
)
def test_each_batch_has_the_time_at_which_it_was_appended(times: list[int]) -> None:
    found = sent(filled(times))
    assert [batch.append_time - TIME for batch in found.batches] == times
    assert [batch.base_offset for batch in found.batches] == list(range(len(times)))
    assert found.end == len(times)


def test_batches_of_two_segments_have_the_times_of_their_own() -> None:
    log = filled([0, 0, 10, 10], size=1_500)
    assert [segment.base_offset for segment in log.segment_list] == [0, 2]
    found = sent(log)
    assert [batch.append_time - TIME for batch in found.batches] == [0, 0, 10, 10]


def test_a_read_ends_where_its_last_batch_does() -> None:
    log = filled([0, 0, 0])
    one = len(sent(log, 2).batches[0].raw)
    found = sent(log, 1, 2 * one - 1)
    assert (found.end, found.size_bytes, len(found.batches)) == (2, one, 1)


def test_a_batch_whose_time_may_be_made_up_ends_what_is_sent() -> None:
    log = filled([0, 0, 0])
    log.segment_list[-1].guessed = (Offset(1), Offset(1))
    found = sent(log)
    assert (found.end, [batch.base_offset for batch in found.batches]) == (1, [0])
