"""Three real processes: their doors before a quorum, their identities, their ends (P47)."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic

import grpc
import pytest

import tidelog.sync
from tests.cluster.processes import JOINED, Processes, said
from tests.kill.node_process import HOST, NodeProcess
from tidelog.v1 import topic_service_pb2, topic_service_pb2_grpc

pytestmark = pytest.mark.slow

TOPIC = "orders"
FAILED, FENCED = 11, 12


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()


def probed(node: NodeProcess, path: str) -> int:
    with closing(HTTPConnection(HOST, node.ports["http"], timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def filled(nodes: Processes) -> None:
    with tidelog.sync.connect(nodes.url()) as client:
        client.topics.create(TOPIC, partitions=3)
        with client.producer() as producer:
            for number in range(30):
                producer.send(TOPIC, b"%d" % number)


def read_back(nodes: Processes) -> set[bytes | None]:
    with (
        tidelog.sync.connect(nodes.url()) as client,
        client.replay(TOPIC, start="earliest", stop="latest") as records,
    ):
        return {record.value for record in records}


def refused(node: NodeProcess) -> str:
    """Start a node that does not belong here; return what it says when it has ended."""
    node.start()
    assert node.wait() == FENCED, node.last_words()
    return node.last_words()


def test_a_node_without_a_quorum_is_alive_and_says_so(nodes: Processes) -> None:
    filled(nodes)
    for node in nodes.nodes.values():
        node.kill()
    nodes.open([1])
    alone = nodes.nodes[1]
    assert probed(alone, "/livez") == 200
    assert probed(alone, "/readyz") == 200
    with grpc.insecure_channel(alone.doors.grpc) as channel:
        topics = topic_service_pb2_grpc.TopicServiceStub(channel)
        with pytest.raises(grpc.RpcError) as told:
            topics.ListTopics(topic_service_pb2.ListTopicsRequest(), timeout=30)
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "has not joined its cluster" in (told.value.details() or "")
    assert alone.running
    nodes.open([2])
    nodes.until(1, JOINED)
    nodes.start([3])
    assert len(read_back(nodes)) == 30


def test_a_node_that_waits_stops_at_once(nodes: Processes) -> None:
    for node in nodes.nodes.values():
        node.kill()
    nodes.open([1])
    began = monotonic()
    assert nodes.nodes[1].terminate() == 0
    assert monotonic() - began < 25


def test_two_nodes_without_the_third_hand_over_what_they_can(nodes: Processes) -> None:
    """A stop that finds no quorum to hand over to ends all the same, in time."""
    filled(nodes)
    for number in (1, 2):
        nodes.nodes[number].kill()
    began = monotonic()
    assert nodes.nodes[3].terminate() == 0
    assert monotonic() - began < 25


def test_a_second_signal_ends_a_node_at_once(nodes: Processes) -> None:
    for number in (1, 2):
        nodes.nodes[number].kill()
    node = nodes.nodes[3]
    node.signal(signal.SIGTERM)
    said(node, "controller_not_taken")
    node.signal(signal.SIGTERM)
    assert node.wait() == 130


def test_a_wiped_volume_comes_back_without_a_command(nodes: Processes) -> None:
    filled(nodes)
    nodes.nodes[2].kill()
    shutil.rmtree(nodes.nodes[2].directory)
    nodes.start([2])
    for number in (1, 3):  # what there is now is on the new volume too
        nodes.nodes[number].kill()
        nodes.start([number])
    assert len(read_back(nodes)) == 30


def test_copies_and_second_nodes_end_with_12(nodes: Processes) -> None:
    filled(nodes)
    second = nodes.nodes[2]
    image = nodes.folder / "image"
    second.freeze()
    shutil.copytree(second.directory, image)
    second.thaw()
    copy = nodes.beside("copy", 2)
    shutil.copytree(image, copy.directory)
    assert "node 2 is running already" in refused(copy)
    text = refused(nodes.beside("second", 2))
    first = next(one for one in second.settings if one.startswith("listeners.peer.bind="))
    assert first.partition("=")[2] in text
    assert "is of another cluster" in refused(nodes.beside("stranger", 4, "cluster.id=ebb"))
    assert second.running and not any(
        line["event"] == "broker_fenced" for number in nodes.nodes for line in nodes.events(number)
    )
    second.terminate()
    nodes.start([2])
    second.terminate()
    shutil.rmtree(second.directory)
    shutil.copytree(image, second.directory)
    second.start()
    # Who tells it first, the registration or the leader of the quorum, is a matter of chance.
    told = {FENCED: "older copy of itself", FAILED: "the end was damaged or lost"}
    assert told[second.wait()] in second.last_words()
    assert len(read_back(nodes)) == 30


def test_a_fourth_node_joins(nodes: Processes) -> None:
    fourth = nodes.beside("4", 4)
    fourth.start()
    said(fourth, JOINED)
    url = f"tidelog://{fourth.doors.grpc}"
    with tidelog.sync.connect(url) as client:
        client.topics.create(TOPIC, partitions=8)
        replicas = {node for one in client.topics.get(TOPIC).partitions for node in one.replicas}
        assert replicas == {1, 2, 3, 4}
        with client.producer() as producer:
            for number in range(40):
                producer.send(TOPIC, b"%d" % number)
    assert len(read_back(nodes)) == 40
