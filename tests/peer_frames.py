"""One frame of every type, with the value that it carries: what the page of the format shows."""

from collections.abc import Callable
from typing import Any, NamedTuple

from cluster.controller import answer_frames, request_frames
from cluster.controller.alter_config import AlterTopicConfig
from cluster.controller.bootstrap import Empty, Founder, Member
from cluster.controller.brokers import RegisterBroker
from cluster.controller.configs import TopicKind
from cluster.controller.feature_level import RaiseFeatureLevel
from cluster.controller.group_config import AlterGroupConfig
from cluster.controller.image import (
    BrokerImage,
    Endpoint,
    FeatureLevels,
    LogEnd,
    PartitionImage,
    Standing,
    Unclean,
)
from cluster.controller.isr import (
    AlterIsr,
    AnswerForUnclean,
    IsrAnswer,
    IsrProposal,
    IsrVerdict,
    RowVersion,
)
from cluster.controller.leadership import (
    ElectPreferred,
    ElectUnclean,
    RecoveredLog,
    TellRecovered,
    TransferLeader,
)
from cluster.controller.partitions import AddPartitions
from cluster.controller.producer_ids import AllocateProducerIds, ProducerIds
from cluster.controller.proposal_frames import ChangeVoters, HandOver
from cluster.controller.proposed_frames import Proposed
from cluster.controller.records import TopicCreated
from cluster.controller.request_frames import AskSeed, BrokerHeartbeat
from cluster.controller.sessions import Heard
from cluster.controller.standing import RemoveBroker, SetStanding
from cluster.controller.topics import CreateTopic, DeleteTopic, TopicRemoved
from cluster.peer import forward, hello, part, ping, repair, replica_frames, snapshot
from cluster.peer.forward import CallRefused, Forward, Forwarded
from cluster.peer.hello import Hello, LinkRefused, Reason
from cluster.peer.part import Part
from cluster.peer.ping import Ping, Pong
from cluster.peer.repair import AskBatches, BatchesPart
from cluster.peer.replica import (
    Batches,
    Beat,
    BeatAnswer,
    Credit,
    Diverging,
    Leave,
    Open,
    Progress,
    Refused,
)
from cluster.peer.replica_frames import OfPartition, SentBatch
from cluster.peer.snapshot import AskState, StatePart
from cluster.peer.table import SPOKEN, TABLE, Family, Frame, FrameType, Manner, parse
from cluster.raft import message_frames
from cluster.raft.entry import Entry, EntryKind
from cluster.raft.messages import (
    AppendRefusal,
    AppendReply,
    AppendRequest,
    Heartbeat,
    HeartbeatReply,
    Message,
    NewerTerm,
    PreVoteReply,
    PreVoteRequest,
    ReadReply,
    ReadRequest,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from cluster.raft.voters import Voter
from model.errors import ErrorCode, Outcome
from model.ids import (
    AppendTimeMs,
    GroupId,
    Index,
    LeaderEpoch,
    NodeId,
    Offset,
    PartitionId,
    ProducerId,
    RegistrationEpoch,
    Term,
    TopicId,
    TopicName,
    WallMs,
)
from model.principal import Principal

CORRELATION = 7
ONE, TWO = NodeId(1), NodeId(2)
TOPIC = TopicId(bytes(range(16)))
PARTITION = PartitionId(TOPIC, 3)
DIRECTORY = bytes(range(16, 32))
INCARNATION = bytes(range(32, 48))
EPOCH, REGISTERED = LeaderEpoch(5), RegistrationEpoch(9)
ME, YOU = Voter(ONE, DIRECTORY), Voter(TWO, INCARNATION)
HELLO = Hello(ONE, DIRECTORY, INCARNATION, bytes(range(64, 96)), "tide", greatest_level=2)
ENDS = (ME, YOU, Term(4))
ENTRIES = (
    Entry(Term(3), Index(11), EntryKind.RECORDS, b"records"),
    Entry(Term(4), Index(12), EntryKind.LEADER, b""),
)
ROW = PartitionImage(
    3,
    None,
    EPOCH,
    (ONE, TWO),
    (),
    (ONE, TWO),
    unclean=(Unclean(ONE), Unclean(TWO, LogEnd(EPOCH, Offset(100)))),
    partition_epoch=8,
)
VERSION = RowVersion(TOPIC, 3, EPOCH, 8)
BATCHES = Batches(
    TWO, EPOCH, Offset(10), Offset(14), Offset(9), Offset(2), AppendTimeMs(1_700_000_000_000)
)
SENT = (
    SentBatch(Offset(10), AppendTimeMs(1_700_000_000_000), b"first"),
    SentBatch(Offset(13), AppendTimeMs(1_700_000_000_010), b"second"),
)
ENDPOINTS = (Endpoint("kafka", "localhost", 9092), Endpoint("grpc", "::1", 65_535))

RAFT: tuple[Message, ...] = (
    PreVoteRequest(*ENDS, Index(12), Term(3)),
    PreVoteReply(*ENDS, granted=True),
    VoteRequest(*ENDS, Index(12), Term(3), transferred=True),
    VoteReply(*ENDS, granted=False),
    AppendRequest(*ENDS, Index(10), Term(3), ENTRIES, Index(10), attempt=2),
    AppendReply(*ENDS, Index(12)),
    AppendRefusal(*ENDS, Index(10), 2, Index(8), Term(2)),
    Heartbeat(*ENDS, Index(12), 77),
    HeartbeatReply(*ENDS, 77),
    SnapshotChunk(*ENDS, Index(12), Term(3), offset=4, chunk=b"chunk", size_bytes=40),
    SnapshotReply(*ENDS, Index(12), 9),
    TimeoutNow(*ENDS),
    ReadRequest(*ENDS, 5),
    ReadReply(*ENDS, 5, Index(12)),
    NewerTerm(*ENDS),
)
ASKED: tuple[request_frames.Asked, ...] = (
    AskSeed(),
    RegisterBroker(
        node=ONE,
        directory=DIRECTORY,
        clean=True,
        endpoints=ENDPOINTS,
        rack="r1",
        version="0.2.0",
        cluster_id="tide",
        remembered=REGISTERED,
        incarnation=INCARNATION,
        levels=FeatureLevels(1, 2),
    ),
    BrokerHeartbeat(ONE, REGISTERED, WallMs(1_700_000_000_000), AppendTimeMs(1_700_000_000_010)),
    AlterIsr(
        leader=ONE,
        registration_epoch=REGISTERED,
        rows=(IsrProposal(VERSION, ((TWO, RegistrationEpoch(4)),)), IsrProposal(VERSION, ())),
    ),
    AnswerForUnclean(leader=ONE, registration_epoch=REGISTERED, rows=(VERSION,)),
    TellRecovered(
        node=ONE,
        registration_epoch=REGISTERED,
        logs=(RecoveredLog(TOPIC, 3, EPOCH, LogEnd(LeaderEpoch(-1), Offset(0))),),
    ),
    SetStanding(nodes=((ONE, REGISTERED),), standing=Standing.STOPPING),
    AllocateProducerIds(node=ONE),
    TopicRemoved(topic_id=TOPIC, node=ONE),
    CreateTopic(
        name="orders",
        partitions=-1,
        replication_factor=3,
        config={"cleanup.policy": "compact", "tidelog.kind": "log"},
        kind=TopicKind.TABLE,
    ),
    CreateTopic(name="__own", assignments=((ONE, TWO), (TWO, ONE)), internal=True),
    DeleteTopic(name="orders", validate_only=True),
    DeleteTopic(topic_id=TOPIC),
    AddPartitions(name="orders", partitions=12),
    AlterTopicConfig(
        name="orders", set={"retention.ms": "1"}, unset=("min.insync.replicas",), etag="e.1"
    ),
    AlterGroupConfig(group=GroupId("billing"), set={"history.keep": "1d"}, validate_only=True),
    ElectPreferred(),
    ElectUnclean(topic="orders", number=3, replica=TWO),
    TransferLeader(topic="orders", number=3, to=TWO, validate_only=True),
    RemoveBroker(node=TWO),
    RaiseFeatureLevel(level=2),
    ChangeVoters((ONE,), (TWO,)),
    HandOver(TWO),
)
TOLD: tuple[answer_frames.Told, ...] = (
    Empty("tide", Founder(ONE, DIRECTORY)),
    Member("tide", (Founder(ONE, DIRECTORY), Founder(TWO, INCARNATION))),
    BrokerImage(
        node=ONE,
        directory=DIRECTORY,
        registration_epoch=REGISTERED,
        endpoints=ENDPOINTS,
        rack=None,
        version="0.2.0",
        remembered=REGISTERED,
        incarnation=INCARNATION,
        levels=FeatureLevels(1, 2),
        standing=Standing.BARRED,
    ),
    Heard.UNFENCE,
    (IsrAnswer(IsrVerdict.STALE_ROW, ROW), IsrAnswer(IsrVerdict.UNKNOWN_PARTITION, None)),
    12,
    ProducerIds(ProducerId(1_000), 1_000),
    None,
    Proposed(
        Index(12),
        TopicCreated(
            topic_id=TOPIC,
            name=TopicName("orders"),
            kind=TopicKind.LOG,
            internal=False,
            created_at=WallMs(1_700_000_000_000),
            config_version=2,
            config={"retention.ms": "1"},
            partitions=(ROW._replace(number=0),),
        ),
    ),
    Proposed(Index(13), {"history.keep": "1d"}),
    Proposed(Index(14), ROW),
    Proposed(Index(15), 2),
    Proposed(Index(16), None),
)
OF_ONE: tuple[replica_frames.OfOne, ...] = (
    Open(TWO, REGISTERED, EPOCH, LeaderEpoch(-1), Offset(10)),
    Diverging(TWO, EPOCH, LeaderEpoch(4), Offset(8)),
    Refused(TWO, EPOCH, ErrorCode.UNKNOWN_EPOCH),
    Progress(TWO, REGISTERED, EPOCH, Offset(14), Offset(13), Offset(10)),
    Leave(TWO, EPOCH),
)
OF_STREAM: tuple[replica_frames.OfStream, ...] = (
    Credit(65_536),
    Beat(AppendTimeMs(1_700_000_000_010)),
    BeatAnswer(AppendTimeMs(1_700_000_000_000)),
)
CALL = Forward("append", Principal("alice", "10.0.0.9", "orders-1"), 2_500, b"payload")
REFUSED = CallRefused(
    Outcome.UNKNOWN, "LEADERSHIP_LOST", "this node stopped leading", 50, (("topic", "orders"),)
)
ASK_STATE = AskState(PARTITION, None, 0, 65_536)
PART = StatePart(PARTITION, Offset(500), 4, 40, b"part")
ASK_BATCHES = AskBatches(PARTITION, Offset(10), Offset(20), 65_536)
BATCHES_PART = BatchesPart(PARTITION, Offset(10), Offset(14), SENT)


class Sample(NamedTuple):
    """A frame as it is written, and what is read from it."""

    name: str
    value: Any
    frame: bytes


def joined(partition: PartitionId, message: Batches, batches: tuple[SentBatch, ...]) -> bytes:
    """Return a frame of batches as the wire has it."""
    return b"".join(map(bytes, replica_frames.encode_batches(partition, message, batches)))


def write(value: Any) -> bytes:
    """Return the frame of any value that a frame can carry."""
    to: dict[type[Any], Callable[[Any], bytes]] = {
        Hello: hello.encode_hello,
        bytes: hello.encode_proof,
        LinkRefused: hello.encode_refused,
        Part: part.encode,
        **dict.fromkeys((Ping, Pong), lambda value: ping.encode(value, correlation=CORRELATION)),
        Forward: lambda value: forward.encode_forward(value, correlation=CORRELATION),
        Forwarded: lambda value: forward.encode_forwarded(value, correlation=CORRELATION),
        CallRefused: lambda value: forward.encode_refused(value, correlation=CORRELATION),
        AskState: lambda value: snapshot.encode_ask(value, correlation=CORRELATION),
        StatePart: lambda value: snapshot.encode_part(value, correlation=CORRELATION),
        AskBatches: lambda value: repair.encode_ask(value, correlation=CORRELATION),
        BatchesPart: _batches_part,
        OfPartition: _of_partition,
        **dict.fromkeys((Credit, Beat, BeatAnswer), replica_frames.encode_stream),
        **dict.fromkeys(map(type, RAFT), message_frames.encode),
        **dict.fromkeys(
            map(type, ASKED), lambda value: request_frames.encode(value, correlation=CORRELATION)
        ),
        **dict.fromkeys(
            map(type, TOLD), lambda value: answer_frames.encode(value, correlation=CORRELATION)
        ),
    }
    return to[type(value)](value)


def read(frame: bytes) -> Any:
    """Return what any frame carries, by its family's codec, as values that outlive the buffer."""
    parsed = parse(frame, version=SPOKEN.greatest)
    return kept(codec_of(parsed)(parsed))


def codec_of(frame: Frame) -> Callable[[Frame], Any]:
    """Return the reader of a frame's family."""
    if frame.row.family is Family.CONTROLLER:
        asks = frame.row.manner is Manner.ASKS
        return request_frames.decode if asks else answer_frames.decode
    return {
        Family.LINK: hello.decode,
        Family.PING: ping.decode,
        Family.PART: part.decode,
        Family.CALL: forward.decode,
        Family.RAFT: message_frames.decode,
        Family.REPLICA: replica_frames.decode,
        Family.STATE: snapshot.decode,
        Family.REPAIR: repair.decode,
    }[frame.row.family]


def kept(value: Any) -> Any:
    """Return a value with copies in the place of views of the buffer."""
    if isinstance(value, OfPartition | BatchesPart):
        copies = [batch._replace(raw=bytes(batch.raw)) for batch in value.batches]
        return value._replace(batches=tuple(copies))
    if isinstance(value, Forward | Forwarded):
        return value._replace(payload=bytes(value.payload))
    if isinstance(value, Part):
        return value._replace(piece=bytes(value.piece))
    if isinstance(value, StatePart):
        return value._replace(content=bytes(value.content))
    return value


def comparable(value: Any) -> Any:
    """Return a value that equals another one only if both say the same.

    Tuples of two types are equal when their fields are, exceptions never are.
    """
    if isinstance(value, LinkRefused):
        return (LinkRefused, value.reason, value.detail)
    return (type(value), value)


def samples() -> list[Sample]:
    """Return at least one frame of each type, in the order of their numbers."""
    values: list[Any] = [
        HELLO,
        bytes(range(32)),
        LinkRefused(Reason.CLUSTER, "another cluster"),
        Ping(),
        Pong(),
        Part(1_000, b"piece"),
        REFUSED,
        CALL,
        Forwarded(b"answer"),
        *RAFT,
        *ASKED,
        *TOLD,
        *(OfPartition(PARTITION, one) for one in OF_ONE),
        OfPartition(PARTITION, BATCHES, SENT),
        *OF_STREAM,
        ASK_STATE,
        PART,
        ASK_BATCHES,
        BATCHES_PART,
    ]
    made = [(value, write(value)) for value in values]
    made.sort(key=lambda sample: sample[1][0])
    return [Sample(FrameType(frame[0]).name, value, frame) for value, frame in made]


def of_family(*families: Family) -> list[bytes]:
    """Return the frames of some families: where a fuzzer begins."""
    return [
        sample.frame for sample in samples() if TABLE[FrameType(sample.frame[0])].family in families
    ]


def _batches_part(value: BatchesPart) -> bytes:
    return b"".join(map(bytes, repair.encode_part(value, correlation=CORRELATION)))


def _of_partition(value: OfPartition) -> bytes:
    if isinstance(value.message, Batches):
        return joined(value.partition, value.message, value.batches)
    return replica_frames.encode(value.partition, value.message)
