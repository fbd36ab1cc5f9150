"""Metadata records, byte for byte, and what is refused."""

import struct
from pathlib import Path
from random import Random

import pytest

from cluster.controller.brokers import FormCluster
from cluster.controller.codec import decode, encode
from cluster.controller.configs import TopicKind
from cluster.controller.image import (
    Endpoint,
    FeatureLevels,
    LogEnd,
    PartitionImage,
    Standing,
    Unclean,
)
from cluster.controller.records import (
    BrokerRegistered,
    BrokerRemoved,
    BrokerStandingChanged,
    ClusterFormed,
    FeatureLevelRaised,
    GroupConfigured,
    MetadataRecord,
    PartitionsAdded,
    PartitionsChanged,
    ProducerIdsAllocated,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
    TopicFilesRemoved,
    VoteWithheld,
)
from model.errors import DirectoryRefused, MalformedError
from model.ids import (
    GroupId,
    LeaderEpoch,
    NodeId,
    Offset,
    ProducerId,
    RegistrationEpoch,
    TopicId,
    TopicName,
    WallMs,
)
from tests.controller_bench import Bench
from tests.controller_shown import shown
from tests.datadriven import Command, run_script

TOPIC = TopicId(bytes(range(16)))
DIRECTORY = bytes(range(16)).hex()
ONE, TWO = NodeId(1), NodeId(2)
ROWS = (
    PartitionImage(0, ONE, LeaderEpoch(3), (ONE, TWO), (ONE,), (TWO,)),
    PartitionImage(
        1,
        None,
        LeaderEpoch(4),
        (ONE, TWO, NodeId(3)),
        (),
        (ONE, TWO),
        unclean=(Unclean(ONE), Unclean(TWO, LogEnd(LeaderEpoch(4), Offset(1_000)))),
        lost=(NodeId(3),),
        partition_epoch=9,
        lossy_epoch=LeaderEpoch(2),
    ),
)
EACH: tuple[MetadataRecord, ...] = (
    ClusterFormed(cluster_id="tide", formed_at=WallMs(1_700_000_000_000)),
    BrokerRegistered(
        node=ONE,
        directory=bytes(range(16, 32)),
        registration_epoch=RegistrationEpoch(7),
        clean=False,
        endpoints=(Endpoint("kafka", "localhost", 9092), Endpoint("grpc", "::1", 65_535)),
        rack="r1",
        version="0.1.0",
        remembered=RegistrationEpoch(6),
        incarnation=bytes(range(32, 48)),
        levels=FeatureLevels(1, 2),
        standing=Standing.STOPPING,
    ),
    TopicCreated(
        topic_id=TOPIC,
        name=TopicName("orders"),
        kind=TopicKind.LOG,
        internal=True,
        created_at=WallMs(-1),
        config_version=2,
        config={"retention.ms": "-1", "cleanup.policy": "delete"},
        partitions=ROWS,
    ),
    PartitionsAdded(topic_id=TOPIC, partitions=ROWS[1:]),
    PartitionsChanged(topic_id=TOPIC, partitions=ROWS[:1]),
    TopicConfigured(topic_id=TOPIC, config_version=3, config={"tidelog.flush": "async"}),
    TopicDeleted(topic_id=TOPIC, nodes=(ONE, TWO)),
    TopicFilesRemoved(topic_id=TOPIC, node=TWO),
    ProducerIdsAllocated(node=TWO, first=ProducerId(1_000), count=1_000),
    GroupConfigured(group=GroupId("billing"), config={"resume.timeout.ms": "5000"}),
    BrokerStandingChanged(
        node=ONE, registration_epoch=RegistrationEpoch(7), standing=Standing.FENCED
    ),
    BrokerRemoved(node=TWO),
    FeatureLevelRaised(level=2),
    VoteWithheld(node=TWO, directory=bytes(range(16, 32)), withheld=True),
)


def execute(command: Command) -> str:
    """Run `encode record=N`: its bytes, 32 a line; or `decode` with bytes as input."""
    if command.name == "encode":
        record = EACH[command.integer("record") - 1]
        text = encode((record,)).hex()
        return "\n".join([repr(record), *(text[at : at + 64] for at in range(0, len(text), 64))])
    try:
        return "\n".join(map(repr, decode(bytes.fromhex("".join(command.lines)))))
    except (MalformedError, DirectoryRefused) as refused:
        return f"{type(refused).__name__}: {refused}"


def test_script(scripts: Path, rewrite: bool) -> None:
    run_script(scripts / "metadata/records.txt", execute, rewrite=rewrite)


def test_what_is_written_is_read() -> None:
    assert tuple(decode(encode(EACH))) == EACH
    assert {type(record) for record in EACH} == set(MetadataRecord.__args__)


def test_what_the_first_release_wrote_is_gone_on_with(scripts: Path, rewrite: bool) -> None:
    """Replay its records; then a decision of this release follows."""

    def replayed(command: Command) -> str:
        bench = Bench()
        for record in decode(bytes.fromhex("".join(command.lines))):
            bench.machine.replay(record)
        bench.decide(FormCluster(cluster_id="tide"))
        orders = bench.image.topics[TopicName("orders")]
        said = [f"cluster {bench.image.cluster_id}", shown(bench.image.brokers[NodeId(0)])]
        said += [shown(orders), *(f"version {row.partition_epoch}" for row in orders.partitions)]
        register = Command("register", {"node": "0", "directory": DIRECTORY, "clean": "no"})
        return "\n".join([*said, bench.execute(register), bench.shown_in_full("orders")])

    run_script(scripts / "metadata/first_release.txt", replayed, rewrite=rewrite)


def test_the_same_config_has_the_same_bytes() -> None:
    first = TopicConfigured(topic_id=TOPIC, config_version=1, config={"a": "1", "b": "2"})
    again = TopicConfigured(topic_id=TOPIC, config_version=1, config={"b": "2", "a": "1"})
    assert encode((first,)) == encode((again,))


@pytest.mark.parametrize("record", EACH, ids=lambda record: type(record).__name__)
def test_whatever_bytes_stand_there_a_reader_says_so_or_reads_them(record: MetadataRecord) -> None:
    """One byte changed, the end cut off, or chance: refused, or a record of exactly these bytes."""
    good = encode((record,))
    chance = Random(1)
    tried = [good[:at] for at in range(1, len(good))]
    tried += [
        good[:at] + bytes([good[at] ^ change]) + good[at + 1 :]
        for at in range(len(good))
        for change in (1, 0x80, 0xFF)
    ]
    tried += [struct.pack(">IBB", 66, good[4], good[5]) + chance.randbytes(60) for _ in range(300)]
    refused = 0
    for payload in tried:
        try:
            assert encode(decode(payload)) == payload
        except (MalformedError, DirectoryRefused):
            refused += 1
    assert refused > len(good)


@pytest.mark.parametrize(("kind", "version"), [(15, 1), (0, 1), (3, 3), (11, 2)])
def test_what_a_newer_release_wrote_is_refused_not_skipped(kind: int, version: int) -> None:
    payload = encode(EACH[:1]) + struct.pack(">IBB", 6, kind, version)
    with pytest.raises(DirectoryRefused, match="newer release") as refused:
        list(decode(payload))
    assert refused.value.exit_code == 13
