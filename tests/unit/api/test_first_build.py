"""A directory that an early build left, killed, opens in this one: nothing acknowledged is missing.

How it was made, and what the rows beside it mean: tests/data/directory/README.md.
"""

import asyncio
import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from api.node.system_clock import SystemClock
from api.settings import NodeSettings
from consumer_groups.settings import GroupSettings
from logstore.batch import encode_batch
from logstore.disk_posix import PosixDisk
from logstore.settings import LogSettings
from model.ids import WallMs
from model.record import NewRecord
from tests.group_client import described, offsets
from tests.grpc_node import GrpcNode, encoded, grpc_node
from tests.grpc_reading import END, START, Request, events
from tidelog.v1 import topic_service_pb2

KEPT = Path(__file__).parents[2] / "data" / "directory"
TOLD: Any = json.loads((KEPT / "first_build.json").read_text())
PATIENT = NodeSettings(
    log=LogSettings(journal_file_bytes=128 << 10),
    groups=GroupSettings(session_timeout_ms=60_000, resume_timeout_ms=60_000),
)
"""Nobody misses the member, whose process is gone, while the test runs."""
ONLY_IN_JOURNAL = b"in the journal alone"


class ThatDate(SystemClock):
    """The machine's clock; its date goes on from a second after the last append."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self._back_ms = super().wall_ms() - (TOLD["written_ms"] + 1_000)

    def wall_ms(self) -> WallMs:
        return WallMs(super().wall_ms() - self._back_ms)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    with tarfile.open(KEPT / "first_build.tar.xz") as packed:
        # Python 3.11 has it from 3.11.4 on; Debian bookworm has 3.11.2.
        packed.extraction_filter = getattr(tarfile, "data_filter", None)
        packed.extractall(tmp_path)
    return tmp_path


def holding(kept: Path, pattern: str, content: bytes) -> list[Path]:
    """Return the files of a kind in which some bytes stand."""
    return [one for one in kept.glob(pattern) if content in one.read_bytes()]


async def records(served: GrpcNode) -> list[list[Any]]:
    """Return everything that can be read, as rows of the kept file."""
    return [
        [
            name,
            step.next.partition,
            one.offset,
            one.key.decode() if one.HasField("key") else None,
            hashlib.sha256(one.value).hexdigest()[:32],
            one.timestamp_ms,
            batch.append_time.ToMilliseconds(),
        ]
        for name in TOLD["topics"]
        for message in await events(served, Request(topics=[name], start=START, stop=END))
        for step in message.records.partitions
        for batch in step.batches
        for one in batch.records
    ]


async def check(served: GrpcNode) -> None:
    """See that all that was acknowledged is there, and nothing that was taken away."""
    found = await records(served)
    assert sorted(found, key=lambda row: row[:3]) == sorted(
        TOLD["records"], key=lambda row: row[:3]
    )
    listed = await served.topics.ListTopics(topic_service_pb2.ListTopicsRequest())
    there = {one.name: (one.partition_count, one.topic_id) for one in listed.topics}
    assert there == {
        name: (one["partitions"], one["topic_id"]) for name, one in TOLD["topics"].items()
    }
    assert not there.keys() & set(TOLD["gone"])
    for name, one in TOLD["topics"].items():
        for number in range(one["partitions"]):
            partition = served.node.broker.partition(name, number)
            assert partition.log_start == TOLD["log_start"].get(name, 0)
    await check_groups(served)


async def check_groups(served: GrpcNode) -> None:
    for group, told in TOLD["groups"].items():
        rows = {
            at: (row.committed.offset, row.committed.metadata)
            for at, row in (await offsets(served, group)).items()
            if row.HasField("committed")
        }
        assert rows == {(topic, at): (offset, word) for topic, at, offset, word in told}
    for group, members in TOLD["members"].items():
        there = (await described(served, group)).members
        assert [one.membership.member_id for one in there] == members


async def check_producers(served: GrpcNode) -> None:
    """Send every remembered batch again: it is answered with its old place."""
    producer, epoch = TOLD["producer"]
    for topic, partition, sequence, count, offset, append_time in TOLD["producers"]:
        batch = encode_batch(
            [NewRecord(1, None, b"again")] * count,
            producer_id=producer,
            producer_epoch=epoch,
            base_sequence=sequence,
        )
        (row,) = await served.produce(topic, encoded(batch, partition))
        assert (row.duplicate, row.base_offset, row.append_time.ToMilliseconds()) == (
            True,
            offset,
            append_time,
        ), row


async def test_all_that_the_first_build_acknowledged_is_there(kept: Path) -> None:
    """P67, P1, P28: after the recovery from its kill, and again after a stop in order."""
    assert holding(kept, "partitions/*/*.log", b"the last of orders")
    assert not holding(kept, "partitions/*/*.log", ONLY_IN_JOURNAL)
    for _ in range(2):
        disk = PosixDisk(str(kept), create=False)
        async with grpc_node(kept, PATIENT, clock=ThatDate(), disk=disk) as served:
            await check(served)
            await check_producers(served)
            await check(served)
        disk.release()


async def test_a_flipped_byte_of_its_journal_is_seen(kept: Path) -> None:
    """The last entry is dropped as a torn end: the check misses its record."""
    (journal,) = holding(kept, "journal/*", ONLY_IN_JOURNAL)
    damaged = bytearray(journal.read_bytes())
    damaged[damaged.index(ONLY_IN_JOURNAL)] ^= 1
    journal.write_bytes(damaged)
    async with grpc_node(kept, PATIENT, clock=ThatDate()) as served:
        found = await records(served)
        missing = [row for row in TOLD["records"] if row not in found]
        assert [row[:3] for row in missing] == [["orders", 0, 122]]
        with pytest.raises(AssertionError):
            await check(served)
