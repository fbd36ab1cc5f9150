"""Whatever can be said between nodes is read as it was said (hypothesis)."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cluster.controller.brokers import RegisterBroker
from cluster.controller.image import (
    BrokerImage,
    Endpoint,
    FeatureLevels,
    LogEnd,
    PartitionImage,
    Standing,
    Unclean,
)
from cluster.controller.isr import AlterIsr, IsrAnswer, IsrProposal, IsrVerdict, RowVersion
from cluster.controller.leadership import RecoveredLog, TellRecovered
from cluster.peer.forward import CallRefused, Forward
from cluster.peer.hello import Hello
from cluster.peer.replica import Batches, Diverging, Open, Progress
from cluster.peer.replica_frames import OfPartition, SentBatch
from cluster.peer.snapshot import StatePart
from cluster.peer.table import Versions
from cluster.raft.entry import Entry
from cluster.raft.messages import AppendRefusal, AppendRequest, SnapshotChunk, VoteRequest
from cluster.raft.voters import Voter
from model.errors import Outcome
from model.ids import (
    AppendTimeMs,
    Index,
    LeaderEpoch,
    NodeId,
    Offset,
    PartitionId,
    RegistrationEpoch,
    Term,
    TopicId,
)
from model.principal import Principal
from tests.peer_frames import comparable, read, write

U63, I31, U16 = (st.integers(0, (1 << bits) - 1) for bits in (63, 31, 16))
UUID = st.binary(min_size=16, max_size=16)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NODE = I31.map(NodeId)
EPOCH = I31.map(LeaderEpoch)
MAYBE_EPOCH = st.integers(-1, (1 << 31) - 1).map(LeaderEpoch)
OFFSET = U63.map(Offset)
REGISTRATION = U63.map(RegistrationEpoch)
TIME = U63.map(AppendTimeMs)
PARTITION = st.builds(PartitionId, UUID.map(TopicId), I31)
VOTER = st.builds(Voter, NODE, UUID)
LEVELS = st.tuples(U16, U16).map(lambda pair: FeatureLevels(*sorted(pair)))
ENDPOINTS = st.lists(st.builds(Endpoint, TEXT, TEXT, U16), max_size=3).map(tuple)
VERSION = st.builds(RowVersion, UUID.map(TopicId), I31, EPOCH, I31)
LOG_END = st.builds(LogEnd, MAYBE_EPOCH, OFFSET)
NODES = st.lists(NODE, max_size=3).map(tuple)


@st.composite
def appends(draw: st.DrawFn) -> AppendRequest:
    *terms, term = sorted(draw(st.lists(U63, min_size=2, max_size=6)))
    prev = draw(st.integers(0, (1 << 63) - 9))
    entries = tuple(
        Entry(Term(one), Index(prev + place), draw(st.integers(0, 255)), draw(st.binary()))
        for place, one in enumerate(terms[1:], start=1)
    )
    ends = (draw(VOTER), draw(VOTER), Term(term))
    return AppendRequest(
        *ends, Index(prev), Term(terms[0]), entries, Index(draw(U63)), attempt=draw(U63)
    )


@st.composite
def chunks(draw: st.DrawFn) -> SnapshotChunk:
    chunk = draw(st.binary())
    offset = draw(st.integers(0, 1 << 40))
    size = offset + len(chunk) + draw(st.integers(0, 1 << 40))
    place = (Index(draw(U63)), Term(draw(U63)))
    ends = (draw(VOTER), draw(VOTER), Term(draw(U63)))
    return SnapshotChunk(*ends, *place, offset=offset, chunk=chunk, size_bytes=size)


@st.composite
def batches(draw: st.DrawFn) -> OfPartition:
    *bases, end = sorted(draw(st.lists(U63, min_size=1, max_size=6, unique=True)))
    times = sorted(draw(st.lists(U63, min_size=len(bases), max_size=len(bases))))
    sent = tuple(
        SentBatch(Offset(base), AppendTimeMs(time), draw(st.binary()))
        for base, time in zip(bases, times, strict=True)
    )
    start = bases[0] if bases else end
    marks = (draw(OFFSET), draw(OFFSET), draw(TIME))
    message = Batches(draw(NODE), draw(EPOCH), Offset(start), Offset(end), *marks)
    return OfPartition(draw(PARTITION), message, sent)


@st.composite
def positions(draw: st.DrawFn) -> OfPartition:
    flushed, written, log_end = map(Offset, sorted(draw(st.tuples(U63, U63, U63))))
    progress = Progress(
        draw(NODE), draw(REGISTRATION), draw(EPOCH), log_end, written_end=written,
        flushed_end=flushed,
    )  # fmt: skip
    return OfPartition(draw(PARTITION), progress)


@st.composite
def rows(draw: st.DrawFn) -> PartitionImage:
    epoch = draw(EPOCH)
    marks = st.lists(st.builds(Unclean, NODE, st.none() | LOG_END), max_size=3).map(tuple)
    return PartitionImage(
        draw(I31),
        draw(st.none() | NODE),
        epoch,
        draw(st.lists(NODE, min_size=1, max_size=3).map(tuple)),
        draw(NODES),
        draw(NODES),
        unclean=tuple(
            mark._replace(recovered=None) if mark.recovered == (-1, -1) else mark
            for mark in draw(marks)
        ),
        lost=draw(NODES),
        partition_epoch=draw(I31),
        lossy_epoch=LeaderEpoch(draw(st.integers(-1, epoch))),
    )


def survives(value: Any) -> None:
    assert comparable(read(write(value))) == comparable(value)


@given(appends() | chunks())
def test_appends_and_chunks(value: AppendRequest | SnapshotChunk) -> None:
    survives(value)


@given(
    st.builds(VoteRequest, VOTER, VOTER, U63, U63, U63, st.booleans())
    | st.builds(AppendRefusal, VOTER, VOTER, U63, U63, U63, U63, U63)
)
def test_messages_of_numbers(value: VoteRequest | AppendRefusal) -> None:
    survives(value)


@given(
    batches()
    | positions()
    | st.tuples(
        PARTITION,
        st.builds(Open, NODE, REGISTRATION, EPOCH, MAYBE_EPOCH, OFFSET)
        | st.builds(Diverging, NODE, EPOCH, MAYBE_EPOCH, OFFSET),
    ).map(lambda pair: OfPartition(*pair))
)
def test_the_replica_stream(value: OfPartition) -> None:
    survives(value)


@given(
    st.builds(
        RegisterBroker,
        node=NODE,
        directory=UUID,
        clean=st.booleans(),
        endpoints=ENDPOINTS,
        rack=st.none() | TEXT,
        version=TEXT,
        cluster_id=st.none() | TEXT,
        remembered=st.none() | REGISTRATION,
        incarnation=UUID,
        levels=LEVELS,
    )
    | st.builds(
        BrokerImage,
        node=NODE,
        directory=UUID,
        registration_epoch=REGISTRATION,
        endpoints=ENDPOINTS,
        rack=st.none() | TEXT,
        version=TEXT,
        remembered=REGISTRATION,
        incarnation=UUID,
        levels=LEVELS,
        standing=st.sampled_from(Standing),
    )
)
def test_registrations(value: RegisterBroker | BrokerImage) -> None:
    survives(value)


@given(
    st.builds(
        AlterIsr,
        leader=NODE,
        registration_epoch=REGISTRATION,
        rows=st.lists(
            st.builds(
                IsrProposal,
                VERSION,
                st.lists(st.tuples(NODE, REGISTRATION), max_size=3).map(tuple),
            ),
            max_size=3,
        ).map(tuple),
    )
    | st.builds(
        TellRecovered,
        node=NODE,
        registration_epoch=REGISTRATION,
        logs=st.lists(
            st.builds(RecoveredLog, UUID.map(TopicId), I31, EPOCH, LOG_END), max_size=3
        ).map(tuple),
    )
    | st.lists(st.builds(IsrAnswer, st.just(IsrVerdict.TAKEN), rows()), max_size=3).map(tuple)
)
def test_rows_of_partitions(value: Any) -> None:
    survives(value)


@given(
    st.builds(Forward, TEXT, st.builds(Principal, TEXT, TEXT, TEXT), I31, st.binary())
    | st.builds(
        CallRefused,
        st.sampled_from(Outcome),
        TEXT,
        TEXT,
        st.none() | I31,
        st.dictionaries(TEXT.map("m{}".format), TEXT, max_size=4).map(
            lambda pairs: tuple(sorted(pairs.items()))
        ),
    )
    | st.builds(
        StatePart, PARTITION, OFFSET, st.just(3), st.integers(60, 1 << 40), st.binary(max_size=50)
    )
)
def test_calls_and_parts(value: Any) -> None:
    survives(value)


@given(
    st.builds(
        Hello,
        NODE,
        UUID,
        UUID,
        st.binary(min_size=32, max_size=32),
        TEXT.filter(bool),
        least_level=st.integers(1, 9),
        greatest_level=st.integers(9, 99),
        versions=st.builds(Versions, st.integers(1, 9), st.integers(9, 99)),
    )
)
def test_hellos(value: Hello) -> None:
    survives(value)
