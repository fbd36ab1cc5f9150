"""P59: clients over gRPC cannot take the descriptors that a node needs for its files."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import tidelog.sync
from tests.kill.node_process import NodeProcess
from tests.narrow_peer import GREETING

DESCRIPTORS = 256
STRANGERS = 300
PATIENCE_S = 30.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    limited = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    made = NodeProcess(tmp_path / "data", (), tmp_path, within=limited)
    made.start()
    try:
        yield made
    finally:
        made.kill()


def test_strangers_over_grpc_leave_a_node_what_it_needs(node: NodeProcess) -> None:
    host, _, port = node.doors.grpc.rpartition(":")
    with ExitStack() as held, tidelog.sync.connect(f"tidelog://{node.doors.grpc}") as client:
        client.topics.create("before", partitions=1)
        taken = 0
        for _ in range(STRANGERS):
            stranger = held.enter_context(socket.create_connection((host, int(port)), PATIENCE_S))
            stranger.sendall(GREETING)
            taken += bool(answered(stranger))
        assert 0 < taken <= DESCRIPTORS // 16
        client.topics.create("after", partitions=12)
        with client.producer() as producer:
            sent = [producer.send("after", b"here", partition=number) for number in range(12)]
        assert [one.offset for one in sent] == [0] * 12
    assert node.running


def answered(stranger: socket.socket) -> bytes:
    """Return what a server that takes a connection says first; nothing: it hung up."""
    try:
        return stranger.recv(9)
    except ConnectionResetError:
        return b""
