"""The file of a state partition's snapshot, and when one is made."""

import random
from pathlib import Path

import pytest

from api.sim.disk import SimDisk
from cluster.state_partition.host import Frozen
from cluster.state_partition.snapshot import (
    PIECE_BYTES,
    Framed,
    StateSnapshot,
    decode,
    encode,
    load,
    offsets,
    pieces,
    save,
)
from cluster.state_partition.snapshot_plan import SnapshotPlan
from logstore.paths import STATE, by_offset, partition_directory
from logstore.replace_file import seal
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import Offset, PartitionId, Position, TopicId
from tests.datadriven import Command, run_script

PLACE = PartitionId(TopicId(bytes(range(16))), 1)


def snapshot(offset: int = 300, partition: PartitionId = PLACE) -> StateSnapshot:
    records = (Framed(b"k1", b""), Framed(b"k2", b"value"))
    return StateSnapshot(partition=partition, offset=Offset(offset), records=records)


def disk_with(*offsets_of: int) -> SimDisk:
    disk = SimDisk()
    disk.make_directory("partitions")
    disk.make_directory(partition_directory(PLACE))
    for offset in offsets_of:
        name = f"{partition_directory(PLACE)}/{by_offset(Offset(offset), STATE)}"
        file = disk.open(name, create=True)
        file.pwrite([encode(snapshot(offset))], Position(0))
        file.fdatasync()
        file.close()
    for directory in ("", "partitions", partition_directory(PLACE)):
        disk.sync_directory(directory)
    return disk


def execute(command: Command) -> str:
    """Print a snapshot's bytes, 16 in a line, and read them again."""
    records = [line.split("=") for line in command.lines]
    made = StateSnapshot(
        partition=PartitionId(PLACE.topic, command.integer("partition")),
        offset=Offset(command.integer("offset")),
        records=tuple(Framed(bytes.fromhex(key), bytes.fromhex(value)) for key, value in records),
    )
    file = encode(made)
    assert decode(file) == made
    return "\n".join(file[at : at + 16].hex(" ") for at in range(0, len(file), 16))


def test_script(scripts: Path, rewrite: bool) -> None:
    run_script(scripts / "state_partition/snapshot.txt", execute, rewrite=rewrite)


def test_every_flipped_bit_and_every_cut_is_seen() -> None:
    file = encode(snapshot())
    for position in range(len(file)):
        for bit in range(8):
            flipped = bytearray(file)
            flipped[position] ^= 1 << bit
            with pytest.raises(MalformedError):
                decode(bytes(flipped))
        with pytest.raises(MalformedError):
            decode(file[:position])
    with pytest.raises(MalformedError):
        decode(file + b"\0")


def test_what_is_sealed_and_cannot_be_is_malformed_and_nothing_worse() -> None:
    """The checksum of bytes that nobody wrote can be right."""
    rand, content = random.Random(4), encode(snapshot())[:-4]
    for _ in range(2_000):
        odd = bytearray(content)
        for _ in range(rand.randrange(1, 4)):
            odd[rand.randrange(12, len(odd))] = rand.randrange(256)
        del odd[rand.randrange(20, len(odd) + 20) :]
        try:
            found = decode(seal(bytes(odd)))
        except MalformedError:
            continue
        assert encode(found) == seal(bytes(odd))


def test_a_large_state_is_written_in_small_pieces() -> None:
    """Nothing that is done with it at once takes long: a node has other things to do."""
    records = tuple(Framed(b"k%d" % number, b"v" * 90) for number in range(20_000))
    made = StateSnapshot(partition=PLACE, offset=Offset(7), records=records)
    written = list(pieces(made.outgoing))
    assert len(written) > 20
    assert max(map(len, written)) < PIECE_BYTES + 200
    assert decode(b"".join(written)) == made
    disk = disk_with()
    save(disk, made.outgoing, keep=None)
    assert load(disk, PLACE, log_start=Offset(7), log_end=Offset(7)).snapshot == made


def test_a_newer_version_is_refused_and_not_passed_over() -> None:
    content = bytearray(encode(snapshot())[:-4])
    content[9] = 2
    with pytest.raises(DirectoryRefused) as refused:
        decode(seal(bytes(content)))
    assert refused.value.exit_code is DirectoryExit.NEWER_FORMAT


def test_saving_keeps_the_named_one_and_removes_all_others() -> None:
    disk = disk_with(100, 150, 200)
    save(disk, snapshot(300).outgoing, keep=Offset(150))
    assert offsets(disk, PLACE) == [150, 300]
    save(disk, snapshot(400).outgoing, keep=None)
    assert offsets(disk, PLACE) == [400]


def test_what_is_saved_survives_a_power_cut() -> None:
    for older, keep in (((100,), 100), ((100, 150), 150)):
        disk = disk_with(*older)
        save(disk, snapshot(300).outgoing, keep=Offset(keep))
        disk.power_cut(lambda pending: pending.nothing)
        assert offsets(disk, PLACE) == [keep, 300]
        assert loaded(disk) == (300, (keep, 300), 0)


def loaded(disk: SimDisk, *, log_start: int = 0, log_end: int = 1_000) -> tuple[object, ...]:
    """Return which snapshot is taken, which are kept, and how many were damaged."""
    found = load(disk, PLACE, log_start=Offset(log_start), log_end=Offset(log_end))
    taken = None if found.snapshot is None else found.snapshot.offset
    return taken, found.kept, len(found.damaged)


def test_the_newest_sound_one_from_which_the_log_goes_on_is_taken() -> None:
    assert loaded(disk_with()) == (None, (), 0)
    assert loaded(SimDisk()) == (None, (), 0)
    assert loaded(disk_with(100), log_start=100, log_end=100) == (100, (100,), 0)
    disk = disk_with(100, 200, 300)
    assert loaded(disk, log_start=300) == (300, (200, 300), 0)
    disk.flip_bit(f"{partition_directory(PLACE)}/{by_offset(Offset(300), STATE)}", Position(50), 1)
    assert loaded(disk, log_start=200) == (200, (100, 200), 1)
    with pytest.raises(DirectoryRefused, match=r"300\.state") as refused:
        loaded(disk, log_start=201)
    assert refused.value.exit_code is DirectoryExit.FAILED
    with pytest.raises(DirectoryRefused, match="ends at offset 299"):
        loaded(disk, log_end=299)
    with pytest.raises(DirectoryRefused, match="no snapshot is there"):
        loaded(disk_with(), log_start=1)


def test_a_file_under_anothers_name_is_passed_over() -> None:
    disk = disk_with(100, 200)
    directory = partition_directory(PLACE)
    disk.rename(
        f"{directory}/{by_offset(Offset(200), STATE)}",
        f"{directory}/{by_offset(Offset(201), STATE)}",
    )
    assert loaded(disk) == (100, (100,), 1)
    disk = disk_with()
    file = disk.open(f"{directory}/{by_offset(Offset(7), STATE)}", create=True)
    file.pwrite([encode(snapshot(7, PartitionId(PLACE.topic, 2)))], Position(0))
    assert loaded(disk) == (None, (), 1)


def test_what_a_start_replays_behind_a_snapshot_costs_little_beside_it() -> None:
    """A state that grows, and one that a start has found: the log is half of it, or as set.

    So is what a snapshot costs: each record of the log pays for two of the state, at most.
    """
    plan = SnapshotPlan[str](1_000)
    assert [plan.wants(Offset(end)) for end in (999, 1_000)] == [False, True]
    for at, held, after in ((1_000, 1, 1_000), (2_000, 6_000, 3_000), (9_000, 90_000, 45_000)):
        plan.took(Frozen(Offset(at), ("state",) * held))
        plan.due(Offset(at))
        plan.written(high_watermark=Offset(at))
        assert [plan.wants(Offset(at + more)) for more in (after - 1, after)] == [False, True]
    found = SnapshotPlan[str](1_000, kept=(Offset(5),), held=6_000)
    assert [found.wants(Offset(end)) for end in (3_004, 3_005)] == [False, True]


def test_the_plan_writes_what_is_committed_and_keeps_two() -> None:
    plan = SnapshotPlan[str](10)
    assert [plan.wants(Offset(end)) for end in (0, 9, 10)] == [False, False, True]
    plan.took(Frozen(Offset(12), ("state",)))
    assert not plan.wants(Offset(100))
    assert plan.due(Offset(11)) is None
    assert plan.due(Offset(12)) == (12, ("state",))
    assert plan.due(Offset(99)) is None, "one at a time"
    plan.written(high_watermark=Offset(12))
    assert (plan.newest, plan.trim_to) == (12, None)
    assert [plan.wants(Offset(end)) for end in (21, 22)] == [False, True]
    for offset in (22, 40):
        plan.took(Frozen(Offset(offset), ()))
        plan.due(Offset(offset))
        plan.written(high_watermark=Offset(offset))
    assert (plan.newest, plan.trim_to) == (40, 22)
    again = SnapshotPlan[str](10, kept=(Offset(22), Offset(40)))
    assert (again.newest, again.trim_to) == (40, 22)
    assert [again.wants(Offset(end)) for end in (49, 50)] == [False, True]


def test_a_snapshot_of_what_is_not_committed_is_a_bug() -> None:
    plan = SnapshotPlan[str](1)
    with pytest.raises(AssertionError, match="STATE_SNAPSHOT_IS_COMMITTED"):
        plan.written(high_watermark=Offset(1))
    plan.took(Frozen(Offset(5), ()))
    with pytest.raises(AssertionError, match="STATE_SNAPSHOT_IS_COMMITTED"):
        plan.written(high_watermark=Offset(4))


def test_two_snapshots_of_one_offset_are_a_bug() -> None:
    plan = SnapshotPlan[str](1, kept=(Offset(5),))
    plan.took(Frozen(Offset(5), ()))
    with pytest.raises(AssertionError, match="STATE_TRIM_BELOW_SNAPSHOT"):
        plan.written(high_watermark=Offset(5))
