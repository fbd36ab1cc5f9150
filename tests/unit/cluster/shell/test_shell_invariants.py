"""What the shell relies on is asserted, and a breach ends the node at once."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from api.sim.clock import SimClock
from cluster.controller.bootstrap import Join
from cluster.controller.proposed_frames import outcome_of
from cluster.controller.request_frames import AskSeed, BrokerHeartbeat
from cluster.controller.request_frames import encode as encode_request
from cluster.peer.snapshot import StatePart
from cluster.peer.table import HEAD, TABLE, Frame, FrameType
from cluster.shell import controller_bootstrap
from cluster.shell.controller_client import ControllerClient
from cluster.shell.controller_frames import ControllerFrames
from cluster.shell.controller_service import ControllerService
from cluster.shell.partitions import Partitions
from cluster.shell.peer_asks import Asks
from cluster.shell.peer_dialler import Dialler
from cluster.shell.peer_links import PeerLinks
from cluster.shell.peer_states import PeerStates
from cluster.shell.replica import Replica
from cluster.shell.state_replica import StateReplica
from cluster.state_partition.receipt import Receipt
from model.ids import NodeId, Offset, PartitionId, RegistrationEpoch, TopicId, WallMs
from tests.peer_network import hello_of
from tests.peer_pair import EMPTY, pair
from tests.replica_cluster import Cluster

PARTITION = PartitionId(TopicId(bytes(16)), 0)


def bare(of: type[Any], **known: object) -> Any:
    """Return an object of which nothing is there but what is named."""
    made: Any = object.__new__(of)
    for name, value in known.items():
        setattr(made, name, value)
    return made


def broken(name: str) -> Any:
    return pytest.raises(AssertionError, match=name)


async def test_a_seed_that_has_no_quorum_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    one = SimpleNamespace(note=print)
    bootstrap = bare(
        controller_bootstrap.Bootstrap,
        _me=EMPTY,
        _seeds={"two:9093": one},
        _note=one.note,
        _foreign=None,
    )

    async def answers() -> dict[str, object]:
        return {"two:9093": EMPTY}

    bootstrap._answers = answers
    monkeypatch.setattr(controller_bootstrap, "next_step", lambda *_: Join(("two:9093",)))
    with broken("BOOTSTRAP_JOINS_A_MEMBER"):
        await bootstrap._agreed()


def test_who_is_not_registered_has_no_epoch() -> None:
    with broken("CLIENT_REGISTERED"):
        assert bare(ControllerClient, _epoch=None).registration_epoch


async def test_only_changes_are_proposed() -> None:
    service = bare(ControllerService)
    with broken("CONTROLLER_ASKED_OF_MACHINE"):
        await service._propose(BrokerHeartbeat(NodeId(1), RegistrationEpoch(1)))


async def test_every_answer_of_the_controller_has_a_frame() -> None:
    async def proposed(_: object) -> str:
        return "no frame has this"

    service = bare(ControllerService, _quorum=SimpleNamespace(propose=proposed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cluster.shell.controller_service.Request", SimpleNamespace)
        with broken("CONTROLLER_ANSWERS_ITS_TYPES"):
            await service._propose(SimpleNamespace())


def test_what_was_decided_has_an_outcome() -> None:
    with broken("PROPOSED_IS_TOLD"):
        outcome_of("nothing")


def frame_of(content: bytes) -> Frame:
    kind, _, correlation = HEAD.unpack_from(content)
    return Frame(FrameType(kind), correlation, memoryview(content)[HEAD.size :])


def test_the_controller_is_only_asked() -> None:
    frames = ControllerFrames(cast(Any, None), lambda: EMPTY)
    asked = frame_of(encode_request(AskSeed(), correlation=1))
    with broken("CONTROLLER_FRAMES_ASK"):
        frames.take(hello_of(2), asked, None)


async def test_what_is_only_said_is_not_asked() -> None:
    said = next(kind for kind, row in TABLE.items() if row.manner.name == "SAYS")
    with broken("PEER_ASKED_ASKS"):
        await Asks(SimClock(wall=WallMs(0))).answer(1, said, timeout_ms=1)


def test_a_node_is_dialled_once() -> None:
    dialler = bare(Dialler, _link=None, _attempt=object())
    with broken("PEER_DIALS_ONCE"):
        dialler._dial()


def test_who_is_reached_has_proven_itself() -> None:
    _, one, _ = pair()
    with broken("PEER_LINK_PROVEN"):
        PeerLinks.dialled(one.links, cast(Any, None), cast(Any, SimpleNamespace(link=None)))


def test_a_replica_without_a_leader_follows_nobody() -> None:
    cluster = Cluster()
    cluster.elect(None, NodeId(1))
    cluster.run()
    replica = cluster.nodes[NodeId(2)].one.replica
    with broken("FOLLOWER_HAS_LEADER"):
        Replica._follow(replica, ())


def test_whoever_is_hosted_knows_how_to_speak() -> None:
    with broken("OUTLET_BEFORE_PARTITIONS"):
        Partitions.speak_by(bare(Partitions, _by_name={"orders": None}), cast(Any, None))


def test_streams_begin_once() -> None:
    process = Cluster().nodes[NodeId(1)]
    with broken("REPLICA_TIMER_ONCE"):
        process.streams.start()


def test_only_questions_about_states_are_answered() -> None:
    _, one, _ = pair()
    states = PeerStates(one.links, cast(Any, None))
    asked = frame_of(encode_request(AskSeed(), correlation=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cluster.shell.peer_states.decode", lambda _: None)
        with broken("STATE_FRAMES_ASK"):
            states._receive(hello_of(2), asked, cast(Any, print))


def test_a_standby_is_in_one_pair_of_hands() -> None:
    with broken("STATE_ONE_JOB"):
        bare(StateReplica, _busy=True)._do(print, print)


def test_a_snapshot_is_as_long_as_its_parts_say() -> None:
    receipt = Receipt(PARTITION, at_least=Offset(0))
    with broken("STATE_PART_FITS"):
        receipt.take(StatePart(PARTITION, Offset(5), 0, 3, b"four"))
