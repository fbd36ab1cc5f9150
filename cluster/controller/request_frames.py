"""What nodes ask of the controller, on the peer wire: bytes out, bytes in.

Format: docs/formats/peer_frames.md, controller. The requests and answers are those of this
package. What people and clients ask for (topics, settings, elections by hand) is in
`proposal_frames.py`, answers are in `answer_frames.py`.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from cluster.controller.answer_frames import endpoints_bytes, read_endpoints
from cluster.controller.brokers import RegisterBroker
from cluster.controller.image import FeatureLevels, LogEnd, Standing
from cluster.controller.isr import AlterIsr, AnswerForUnclean, IsrProposal, RowVersion
from cluster.controller.leadership import RecoveredLog, TellRecovered
from cluster.controller.producer_ids import AllocateProducerIds
from cluster.controller.proposal_frames import DECODE as DECODE_PROPOSAL
from cluster.controller.proposal_frames import Proposal, body_of
from cluster.controller.standing import SetStanding
from cluster.controller.topics import TopicRemoved
from cluster.peer.fields import BodyReader, listed, optional_string, string
from cluster.peer.table import Family, Frame, FrameType, Manner, packed
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    NodeId,
    Offset,
    RegistrationEpoch,
    TopicId,
    WallMs,
)

UNSAID_DATE: Final = WallMs(-1)
UNSAID_TIME: Final = AppendTimeMs(-1)


class BrokerHeartbeat(NamedTuple):
    """A registered node lives; answered with `Heard`."""

    node: NodeId
    registration_epoch: RegistrationEpoch
    wall: WallMs = UNSAID_DATE
    """The date where it is; -1: it does not say."""
    append_time: AppendTimeMs = UNSAID_TIME
    """What its append clock reads; -1 likewise."""


class AskSeed(NamedTuple):
    """Who are you, and do you know a quorum?

    Every node answers, with `cluster.controller.bootstrap.Answer`, whether it is a controller or
    not.
    """


Asked: TypeAlias = (
    AskSeed
    | RegisterBroker
    | BrokerHeartbeat
    | AlterIsr
    | AnswerForUnclean
    | TellRecovered
    | SetStanding
    | AllocateProducerIds
    | TopicRemoved
    | Proposal
)

_NODE: Final = Struct(">i")
_NODE_EPOCH: Final = Struct(">iq")
_BEAT: Final = Struct(">iqqq")  # node, epoch; date, append time
_REGISTER: Final = Struct(">i16sBq16sHH")  # node, directory, clean, remembered, incarnation, levels
_VERSION: Final = Struct(">16siii")  # topic id, partition, leader epoch, partition epoch
_FOLLOWERS: Final = Struct(">H")
_LOG: Final = Struct(">16siiiq")  # topic id, partition, leader epoch; last epoch, log end
_STANDING: Final = Struct(">B")
_TOPIC: Final = Struct(">16si")  # topic id, node
_NOTHING: Final = -1


def encode(asked: Asked, *, correlation: int) -> bytes:
    """Return a request's whole frame.

    Raises:
        RequestError: INVALID_REQUEST, a proposal that fits no frame.
    """
    if type(asked) not in _ENCODE:
        number, body = body_of(asked)  # type: ignore[arg-type] # one of the two has it
        return packed(number, body, correlation=correlation)
    number, write = _ENCODE[type(asked)]
    return packed(number, write(asked), correlation=correlation)


def decode(frame: Frame) -> Asked:
    """Return what a frame asks.

    Raises:
        MalformedError: not what was written.
    """
    assert frame.row.family is Family.CONTROLLER, "PEER_FRAME_FAMILY"
    assert frame.row.manner is Manner.ASKS, "PEER_FRAME_FAMILY"
    reader = BodyReader(frame)
    asked = (_DECODE | DECODE_PROPOSAL)[frame.type](reader)
    reader.finish()
    return asked


def _register(asked: RegisterBroker) -> bytes:
    remembered = _NOTHING if asked.remembered is None else asked.remembered
    fixed = _REGISTER.pack(
        asked.node, asked.directory, asked.clean, remembered, asked.incarnation, *asked.levels
    )
    texts = (optional_string(asked.cluster_id), optional_string(asked.rack), string(asked.version))
    return b"".join((fixed, *texts, endpoints_bytes(asked.endpoints)))


def _read_register(reader: BodyReader) -> RegisterBroker:
    node, directory, clean, remembered, incarnation, least, greatest = reader.unpack(_REGISTER)
    sound = node >= 0 and clean <= 1 and remembered >= _NOTHING and least <= greatest
    why = f"node {node}, clean {clean}, epoch {remembered}, feature levels {least} to {greatest}"
    reader.check(sound, why, back=_REGISTER.size)
    return RegisterBroker(
        node=NodeId(node),
        directory=directory,
        clean=bool(clean),
        remembered=None if remembered == _NOTHING else RegistrationEpoch(remembered),
        incarnation=incarnation,
        levels=FeatureLevels(least, greatest),
        cluster_id=reader.optional_string(),
        rack=reader.optional_string(),
        version=reader.string(),
        endpoints=read_endpoints(reader),
    )


def _alter(asked: AlterIsr) -> bytes:
    return _NODE_EPOCH.pack(asked.leader, asked.registration_epoch) + listed(
        [
            _VERSION.pack(*row.version)
            + _FOLLOWERS.pack(len(row.followers))
            + b"".join(_NODE_EPOCH.pack(*follower) for follower in row.followers)
            for row in asked.rows
        ]
    )


def _read_alter(reader: BodyReader) -> AlterIsr:
    leader, epoch = _node_epoch(reader)

    def row() -> IsrProposal:
        version = _row_version(reader)
        (followers,) = reader.unpack(_FOLLOWERS)
        members = reader.rows(followers, lambda: _node_epoch(reader), least_bytes=_NODE_EPOCH.size)
        return IsrProposal(version, members)

    rows = reader.listed(row, least_bytes=_VERSION.size + _FOLLOWERS.size)
    return AlterIsr(leader=leader, registration_epoch=epoch, rows=rows)


def _answer_for(asked: AnswerForUnclean) -> bytes:
    rows = [_VERSION.pack(*version) for version in asked.rows]
    return _NODE_EPOCH.pack(asked.leader, asked.registration_epoch) + listed(rows)


def _read_answer_for(reader: BodyReader) -> AnswerForUnclean:
    leader, epoch = _node_epoch(reader)
    rows = reader.listed(lambda: _row_version(reader), least_bytes=_VERSION.size)
    return AnswerForUnclean(leader=leader, registration_epoch=epoch, rows=rows)


def _tell(asked: TellRecovered) -> bytes:
    rows = [_LOG.pack(log.topic_id, log.number, log.leader_epoch, *log.end) for log in asked.logs]
    return _NODE_EPOCH.pack(asked.node, asked.registration_epoch) + listed(rows)


def _read_tell(reader: BodyReader) -> TellRecovered:
    node, epoch = _node_epoch(reader)

    def log() -> RecoveredLog:
        topic, number, leader_epoch, last_epoch, log_end = reader.unpack(_LOG)
        sound = min(number, leader_epoch, log_end) >= 0 and last_epoch >= _NOTHING
        reader.check(sound, "a partition, epoch or offset below what there is", back=_LOG.size)
        end = LogEnd(LeaderEpoch(last_epoch), Offset(log_end))
        return RecoveredLog(TopicId(topic), number, LeaderEpoch(leader_epoch), end)

    logs = reader.listed(log, least_bytes=_LOG.size)
    return TellRecovered(node=node, registration_epoch=epoch, logs=logs)


def _set_standing(asked: SetStanding) -> bytes:
    rows = [_NODE_EPOCH.pack(*one) for one in asked.nodes]
    return _STANDING.pack(asked.standing) + listed(rows)


def _read_set_standing(reader: BodyReader) -> SetStanding:
    (number,) = reader.unpack(_STANDING)
    reader.check(number in Standing.__members__.values(), f"a standing {number}", back=1)
    nodes = reader.listed(lambda: _node_epoch(reader), least_bytes=_NODE_EPOCH.size)
    return SetStanding(nodes=nodes, standing=Standing(number))


def _read_allocate(reader: BodyReader) -> AllocateProducerIds:
    (node,) = reader.unpack(_NODE)
    reader.check(node >= 0, f"node {node}", back=_NODE.size)
    return AllocateProducerIds(node=NodeId(node))


def _read_beat(reader: BodyReader) -> BrokerHeartbeat:
    node, epoch, wall, append_time = reader.unpack(_BEAT)
    sound = min(node, epoch) >= 0 and min(wall, append_time) >= _NOTHING
    why = f"node {node} in epoch {epoch}, dates {wall} and {append_time}"
    reader.check(sound, why, back=_BEAT.size)
    return BrokerHeartbeat(
        NodeId(node), RegistrationEpoch(epoch), WallMs(wall), AppendTimeMs(append_time)
    )


def _read_removed(reader: BodyReader) -> TopicRemoved:
    topic_id, node = reader.unpack(_TOPIC)
    reader.check(node >= 0, f"node {node}", back=_NODE.size)
    return TopicRemoved(topic_id=TopicId(topic_id), node=NodeId(node))


def _node_epoch(reader: BodyReader) -> tuple[NodeId, RegistrationEpoch]:
    node, epoch = reader.unpack(_NODE_EPOCH)
    reader.check(min(node, epoch) >= 0, f"node {node} in epoch {epoch}", back=_NODE_EPOCH.size)
    return NodeId(node), RegistrationEpoch(epoch)


def _row_version(reader: BodyReader) -> RowVersion:
    topic, number, leader_epoch, partition_epoch = reader.unpack(_VERSION)
    sound = min(number, leader_epoch, partition_epoch) >= 0
    reader.check(sound, "a partition or epoch below 0", back=_VERSION.size)
    return RowVersion(TopicId(topic), number, LeaderEpoch(leader_epoch), partition_epoch)


_ENCODE: Final[dict[type[Asked], tuple[FrameType, Callable[[Any], bytes]]]] = {
    AskSeed: (FrameType.ASK_SEED, lambda _: b""),
    RegisterBroker: (FrameType.REGISTER, _register),
    BrokerHeartbeat: (FrameType.BROKER_HEARTBEAT, lambda asked: _BEAT.pack(*asked)),
    AlterIsr: (FrameType.ALTER_ISR, _alter),
    AnswerForUnclean: (FrameType.ANSWER_FOR_UNCLEAN, _answer_for),
    TellRecovered: (FrameType.TELL_RECOVERED, _tell),
    SetStanding: (FrameType.SET_STANDING, _set_standing),
    AllocateProducerIds: (
        FrameType.ALLOCATE_PRODUCER_IDS,
        lambda asked: _NODE.pack(asked.node),
    ),
    TopicRemoved: (
        FrameType.TOPIC_REMOVED,
        lambda asked: _TOPIC.pack(asked.topic_id, asked.node),
    ),
}
_DECODE: Final[dict[FrameType, Callable[[BodyReader], Asked]]] = {
    FrameType.ASK_SEED: lambda _: AskSeed(),
    FrameType.REGISTER: _read_register,
    FrameType.BROKER_HEARTBEAT: _read_beat,
    FrameType.ALTER_ISR: _read_alter,
    FrameType.ANSWER_FOR_UNCLEAN: _read_answer_for,
    FrameType.TELL_RECOVERED: _read_tell,
    FrameType.SET_STANDING: _read_set_standing,
    FrameType.ALLOCATE_PRODUCER_IDS: _read_allocate,
    FrameType.TOPIC_REMOVED: _read_removed,
}
