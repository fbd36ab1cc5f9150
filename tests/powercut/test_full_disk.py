"""A disk that is really full, and one that is really read-only, under a real node.

A file system of a few MiB in memory, mounted for each test: needs root. What fills it is the node
itself, up to its reserve, or somebody else, to the last byte.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import pytest

from tests.kill.node_process import NodeFailed, NodeProcess
from tidelog.v1 import (
    common_pb2,
    log_service_pb2,
    log_service_pb2_grpc,
    topic_service_pb2,
    topic_service_pb2_grpc,
)

DISK_MIB = 24
VALUE = os.urandom(200 << 10)
RESUME_S_MAX = 30
"""P48; from the moment there is space."""
RESERVE = 2 << 20
JOURNAL_FILE = 256 << 10
SETTINGS = (
    "log.journal_file_bytes=256KiB",
    "log.journal_files_max=4",
    "log.checkpoint_ms=1000",
    "log.reserve_bytes=2MiB",
    "log.reserve_percent=50",
)
TOPIC = "orders"
pytestmark = pytest.mark.slow


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a file system needs root and mount(8)")
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tidelog-test", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def node(mounted: Path, tmp_path: Path) -> Iterator[NodeProcess]:
    process = NodeProcess(mounted / "data", SETTINGS, tmp_path)
    try:
        yield process
    finally:
        process.close()


class Client:
    """Produces one record at a time, and reads all of them."""

    def __init__(self, node: NodeProcess) -> None:
        self._channel = grpc.insecure_channel(node.doors.grpc)
        self._logs: Any = log_service_pb2_grpc.LogServiceStub(self._channel)
        self._topics: Any = topic_service_pb2_grpc.TopicServiceStub(self._channel)

    def create(self, name: str) -> None:
        topic = topic_service_pb2.Topic(name=name, partition_count=1)
        self._topics.CreateTopic(topic_service_pb2.CreateTopicRequest(topic=topic), timeout=30)

    def delete(self, name: str) -> None:
        self._topics.DeleteTopic(topic_service_pb2.DeleteTopicRequest(name=name), timeout=30)

    def produce(self, topic: str, value: bytes) -> common_pb2.RecordError | None:
        """Produce; return why it was refused, None if it was acknowledged."""
        records = [common_pb2.Record(value=value)]
        batch = log_service_pb2.ProduceBatch(topic=topic, partition=0, records=records)
        request = log_service_pb2.ProduceRequest(batches=[batch])
        try:
            (result,) = self._logs.Produce(request, timeout=30).results
        except grpc.RpcError as error:
            return common_pb2.RecordError(reason="CALL_FAILED", message=str(error))
        return result.error if result.HasField("error") else None

    def values(self, topic: str) -> list[bytes]:
        """Return every value in order, from the first offset on."""
        found: list[bytes] = []
        while True:
            cursor = common_pb2.Cursor(topic=topic, partition=0, offset=len(found))
            request = log_service_pb2.FetchRequest(
                cursors=[cursor], encoding=common_pb2.ENCODING_RECORDS
            )
            (result,) = self._logs.Fetch(request, timeout=30).results
            records = result.records
            taken = [r.value for batch in records.batches for r in batch.records]
            if not taken:
                assert records.high_watermark == len(found)
                return found
            found += taken

    def fill(self, topic: str) -> tuple[int, common_pb2.RecordError]:
        """Produce until one is refused; return how many were acknowledged, and why it was not."""
        for count in range(2 * DISK_MIB * 10):
            refused = self.produce(topic, b"%06d" % count + VALUE)
            if refused is not None:
                return count, refused
        raise AssertionError("the disk is never full")

    def close(self) -> None:
        self._channel.close()


def stored(client: Client, topic: str) -> list[int]:
    return [int(value[:6]) for value in client.values(topic)]


def test_at_the_reserve_appends_are_refused_and_all_else_goes_on(node: NodeProcess) -> None:
    node.start()
    client = Client(node)
    client.create(TOPIC)
    client.create("ballast")
    for count in range(20):
        assert client.produce("ballast", b"%06d" % count + VALUE) is None
    acked, refused = client.fill(TOPIC)
    assert acked > 20
    assert refused.reason == "DISK_FULL"
    assert refused.outcome == common_pb2.OUTCOME_NOT_DONE
    assert refused.retryable
    kept = int(refused.metadata["reserve_bytes"])
    assert RESERVE <= kept <= RESERVE + JOURNAL_FILE, "one more file while there is but one"
    assert int(refused.metadata["free_bytes"]) < kept + len(VALUE) + 1_000
    assert stored(client, TOPIC) == list(range(acked))
    client.create("another")
    client.delete("ballast")
    until = monotonic() + RESUME_S_MAX
    while (refusal := client.produce(TOPIC, b"%06d" % acked)) is not None:
        assert refusal.reason == "DISK_FULL"
        assert monotonic() < until, "the space of a deleted topic is not used again"
    assert stored(client, TOPIC) == list(range(acked + 1))
    assert any(event["event"] == "disk_low" for event in node.events())
    client.close()
    assert node.terminate() == 0
    node.start()
    client = Client(node)
    assert stored(client, TOPIC) == list(range(acked + 1))
    client.close()
    assert node.odd_lines() == []


def test_a_disk_that_somebody_else_fills_ends_the_node_and_loses_nothing(
    node: NodeProcess, mounted: Path
) -> None:
    node.start()
    client = Client(node)
    client.create(TOPIC)
    assert client.produce(TOPIC, b"000000") is None
    ballast = mounted / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(1 << 16))
    acked = 1
    while (refused := client.produce(TOPIC, b"%06d" % acked + VALUE)) is None:
        acked += 1
    assert refused.reason in {"DISK_FULL", "STORAGE_ERROR", "CALL_FAILED"}
    client.close()
    if refused.reason != "DISK_FULL":
        assert node.wait() == 11
        assert "free some space on its file system and start again" in node.last_words()
        (failed,) = [one for one in node.events() if one["event"] == "storage_failed"]
        assert "ENOSPC" in str(failed["error"])
        with pytest.raises(NodeFailed, match="exit code 11"):
            node.start()
        assert "free some space" in node.last_words()
    else:
        node.kill()
    ballast.unlink()
    node.start()
    client = Client(node)
    found = stored(client, TOPIC)
    assert found[:acked] == list(range(acked))
    assert len(found) <= acked + 1, "more than what was acknowledged or under way"
    assert client.produce(TOPIC, b"%06d" % len(found)) is None
    client.close()
    assert node.terminate() == 0


def test_a_read_only_disk_is_refused_in_one_line_and_nothing_is_changed(
    node: NodeProcess, mounted: Path
) -> None:
    node.start()
    client = Client(node)
    client.create(TOPIC)
    assert client.produce(TOPIC, b"000000") is None
    client.close()
    assert node.terminate() == 0
    before = {path: path.stat().st_mtime_ns for path in mounted.rglob("*")}
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(NodeFailed, match="exit code 11"):
        node.start()
    assert "EROFS" in node.last_words()
    assert "mount its file system for writing" in node.last_words()
    assert "Traceback" not in node.last_words()
    assert {path: path.stat().st_mtime_ns for path in mounted.rglob("*")} == before
    subprocess.run(["mount", "-o", "remount,rw", str(mounted)], check=True)
    node.start()
    client = Client(node)
    assert stored(client, TOPIC) == [0]
    client.close()
    assert node.terminate() == 0
