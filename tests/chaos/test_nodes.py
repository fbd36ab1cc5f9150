"""A kill and a pause of real nodes; and that what judges the run of three nodes can fail."""

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from types import MappingProxyType

import pytest

from logstore.batch import encode_batch
from logstore.paths import LOG, PARTITIONS, TIMES, by_offset
from logstore.times import Times
from model.ids import AppendTimeMs, LeaderEpoch, Offset
from model.record import NewRecord
from tests.chaos.history import Ack, AnyEvent, Send, write_all
from tests.chaos.nodes_acks import Acks, Lane
from tests.chaos.nodes_plan import PARTITIONS as PARTITION_COUNT
from tests.chaos.nodes_plan import TOPIC, Kind
from tests.chaos.nodes_replicas import compare, dumped, portions
from tests.chaos.nodes_strikes import CUTS, strikes
from tests.chaos.nodes_world import World
from tests.interop.dump_log import Dumped
from tests.interop.fetched import MissingError
from tests.kill.node_process import NodeFailed

ROOT = Path(__file__).parents[2]
TOPIC_ID = "0123456789abcdef0123456789abcdef"
needs_clients = pytest.mark.skipif(
    find_spec("confluent_kafka") is None, reason="confluent-kafka makes the load"
)


@pytest.mark.slow
@needs_clients
def test_a_kill_and_a_pause_lose_nothing_and_writes_are_back_in_time() -> None:
    command = [sys.executable, "-m", "tests.chaos.nodes_run", "--without", "cuts,power-cuts"]
    command += ["--kills", "1", "--pauses", "1", "--pause-seconds", "4"]
    if not all(map(which, ("java", "javac", "mvn"))):
        command.append("--without-dump-log")
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("PASS\n")
    for kind in (Kind.KILLS, Kind.PAUSES):
        assert any(line.split()[:2] == [kind, "1"] for line in run.stdout.splitlines()), run.stdout


@needs_clients
def test_what_a_machine_cannot_do_is_told_and_not_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.chaos import nodes_network, nodes_run  # noqa: PLC0415 - imports confluent-kafka

    monkeypatch.setattr(nodes_network, "which", lambda tool: None if tool == "iptables" else tool)
    monkeypatch.setattr("os.geteuid", lambda: 0)

    def no_classes() -> str:
        raise MissingError("java is not installed")

    monkeypatch.setattr(nodes_run, "java_classes", no_classes)
    assert nodes_run.main(["--only", "cuts"]) == 2
    told = capsys.readouterr().err
    assert "--without cuts: not installed: iptables" in told
    assert "--without-dump-log: java is not installed" in told
    assert nodes_run.main(["--only", "cuts", "--without-dump-log"]) == 2
    assert "java" not in capsys.readouterr().err


def test_a_seed_says_everything_about_the_strikes() -> None:
    counts = {Kind.KILLS: 50, Kind.PAUSES: 20, Kind.CUTS: 20, Kind.POWER_CUTS: 20}
    made = strikes(counts, 7, pause_s=20.0)
    assert made == strikes(counts, 7, pause_s=20.0)
    assert made != strikes(counts, 8, pause_s=20.0)
    assert {kind: sum(one.kind is kind for one in made) for kind in counts} == counts
    assert {one.form for one in made if one.kind is Kind.CUTS} == set(CUTS)
    assert {one.quorum for one in made if one.kind is Kind.KILLS} == {True, False}
    assert all(one.hold_s == 20.0 for one in made if one.kind is Kind.PAUSES)


def _producer(folder: Path, name: str, acks_ms: list[int]) -> None:
    """Write a producer's history: each record is sent 1 ms before its ack, to every partition."""
    events: list[AnyEvent] = []
    for n, ms in enumerate(acks_ms):
        places = [f"{TOPIC}/{number}" for number in range(PARTITION_COUNT)]
        events += [Send(ms * 1_000 - 1_000, at=at, n=n) for at in places]
        events += [Ack(ms * 1_000, at=at, n=n, offset=n) for at in places]
    write_all(folder / f"{name}.jsonl", events)


def test_silence_is_what_no_producer_of_a_door_has_broken(tmp_path: Path) -> None:
    _producer(tmp_path, "w-sdk-1", [100, 1_000, 3_000])
    _producer(tmp_path, "w-sdk-2", [600, 1_500, 2_900])
    _producer(tmp_path, "w-kafka-1", [*range(100, 3_001, 100)])
    acks = Acks(tmp_path)
    acks.look()
    found = acks.silence(0, 3_000_000)
    assert (found.seconds, found.lane.door, found.over_us) == (1.4, "sdk", 2_900_000)
    assert acks.silence(2_000_000, 3_000_000).seconds == pytest.approx(0.9)
    assert acks.silence(2_950_000, 9_000_000).seconds == pytest.approx(6.0)
    assert acks.back_since(2_990_000)
    assert not acks.back_since(3_000_000)
    with (tmp_path / "w-kafka-1.jsonl").open("ab") as file:
        file.write(b'{"f":"send","t":3500000,"at":"orders/3","n":30}\n{"f":"ack","t":3600000,')
    acks.look()
    assert not acks.back_since(3_400_000)
    with (tmp_path / "w-kafka-1.jsonl").open("ab") as file:
        file.write(b'"at":"orders/3","n":30,"offset":30}\n')
    acks.look()
    missing = acks.missing_since(3_400_000)
    assert Lane("kafka", "orders/3") not in missing
    assert len(missing) == 2 * PARTITION_COUNT - 1


def test_a_lane_that_is_far_behind_takes_records_all_the_same(tmp_path: Path) -> None:
    for door in ("sdk", "kafka"):
        _producer(tmp_path, f"w-{door}-1", [1_000])
    late = "".join(
        f'{{"f":"send","t":2000000,"at":"{TOPIC}/{number}","n":1}}\n'
        f'{{"f":"ack","t":{ack_us},"at":"{TOPIC}/{number}","n":1,"offset":1}}\n'
        for number, ack_us in enumerate([8_000_001] * (PARTITION_COUNT - 1) + [8_000_000])
    )
    for door in ("sdk", "kafka"):
        with (tmp_path / f"w-{door}-1.jsonl").open("a") as file:
            file.write(late)
    acks = Acks(tmp_path)
    acks.look()
    last = f"{TOPIC}/{PARTITION_COUNT - 1}"  # its ack may have been on its way already
    assert acks.missing_since(3_000_000) == [Lane("sdk", last), Lane("kafka", last)]
    assert acks.back_since(2_999_999)


def _replica(
    folder: Path,
    values: list[bytes],
    *,
    time: int = 1_000,
    cut_at: int = 99,
    producers: Mapping[bytes, tuple[int, int]] = MappingProxyType({}),
) -> Path:
    """Write a partition of one batch for each value; a new segment begins at batch `cut_at`.

    `producers`: id and epoch of who sent a value.
    """
    below = folder / PARTITIONS / f"{TOPIC_ID}-0"
    below.mkdir(parents=True)
    for first, part in ((0, values[:cut_at]), (cut_at, values[cut_at:])):
        if not part:
            continue
        times = Times(Offset(first))
        data = b""
        for offset, value in enumerate(part, first):
            producer, epoch = producers.get(value, (-1, -1))
            data += encode_batch(
                [NewRecord(5, None, value)],
                base_offset=offset,
                producer_id=producer,
                producer_epoch=epoch,
            )
            append_time = AppendTimeMs(time + 10 * offset)
            times.append(Offset(offset), LeaderEpoch(1), append_time)
        (below / by_offset(Offset(first), LOG)).write_bytes(data)
        (below / by_offset(Offset(first), TIMES)).write_bytes(
            times.encode_head() + times.encode_rows()
        )
    return folder


VALUES = [b"a", b"b", b"c", b"d"]


def test_replicas_are_the_same_wherever_their_segments_begin(tmp_path: Path) -> None:
    found = compare(
        {
            1: _replica(tmp_path / "1", VALUES),
            2: _replica(tmp_path / "2", VALUES, cut_at=2),
            3: _replica(tmp_path / "3", [*VALUES, b"not committed"]),
        },
        TOPIC_ID,
        {0: 4},
    )
    assert (found.batches, found.anew, found.problems) == (4, 0, [])


def test_epochs_that_producers_have_begun_anew_are_counted(tmp_path: Path) -> None:
    producers = {b"a": (7, 0), b"b": (7, 1), b"c": (7, 1), b"d": (8, 2)}
    found = compare({1: _replica(tmp_path / "1", VALUES, producers=producers)}, TOPIC_ID, {0: 4})
    assert (found.anew, found.problems) == (2, [])


@pytest.mark.parametrize(
    ("values", "time", "told"),
    [
        ([b"a", b"x", b"c", b"d"], 1_000, "differ from offset 1 on: bytes"),
        (VALUES, 1_010, "differ from offset 0 on: append_time 1000 and 1010"),
        (VALUES[:3], 1_000, "node 2, partition 0 ends at 3, not 4"),
        ([], 1_000, "node 2, partition 0 ends at 0, not 4"),
    ],
)
def test_a_replica_that_is_not_the_same_is_told(
    tmp_path: Path, *, values: list[bytes], time: int, told: str
) -> None:
    found = compare(
        {1: _replica(tmp_path / "1", VALUES), 2: _replica(tmp_path / "2", values, time=time)},
        TOPIC_ID,
        {0: 4},
    )
    assert any(told in problem for problem in found.problems), found.problems


def test_files_go_to_the_other_reader_in_portions_and_all_its_complaints_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = (3, 4, 9, 0, 5)
    folder = tmp_path / PARTITIONS / f"{TOPIC_ID}-0"
    folder.mkdir(parents=True)
    files = [folder / by_offset(Offset(number), LOG) for number in range(len(sizes))]
    for file, size in zip(files, sizes, strict=True):
        file.write_bytes(bytes(size))
    split = [[file.stat().st_size for file in part] for part in portions(files, 7)]
    assert split == [[3, 4], [9], [0, 5]]
    monkeypatch.setattr("tests.chaos.nodes_replicas.DUMP_BYTES_MAX", 7)

    def dump(part: list[Path]) -> Dumped:
        if files[-1] in part:
            raise subprocess.TimeoutExpired("java", 120)
        return Dumped(len(part), 2, 10, ["not as it should be"] if files[2] in part else [])

    monkeypatch.setattr("tests.chaos.nodes_replicas.dump", dump)
    seen = dumped(tmp_path)
    assert (seen.files, seen.batches, seen.records, len(seen.wrong)) == (5, 4, 20, 2)
    assert seen.wrong[0] == "not as it should be"
    assert "timed out" in seen.wrong[1]


class Refused:
    """Stands for the processes of nodes: node 1 ends with a code until its directory is empty."""

    starts = 1

    def __init__(self, folder: Path, code: int) -> None:
        self.code = code
        self.said = folder
        (folder / "node-0001.log").touch()
        self.directory = folder / "data"
        (self.directory / "journal").mkdir(parents=True)
        self.nodes = {1: self}
        self.opened: list[list[int]] = []

    @property
    def running(self) -> bool:
        return not self.directory.exists()

    def open(self, numbers: list[int]) -> None:
        self.opened.append(list(numbers))

    def until(self, number: int, event: str) -> None:
        if not self.running:
            raise NodeFailed("no cluster_joined")

    def wait(self) -> int:
        return self.code

    def odd_lines(self) -> list[str]:
        return []


@pytest.mark.parametrize("liars", [frozenset({1}), frozenset({2})])
@pytest.mark.parametrize("code", [11, 12, 1])
def test_only_a_disk_that_lies_is_emptied_and_only_if_its_node_refuses_it(
    code: int, liars: frozenset[int], tmp_path: Path
) -> None:
    world = World(tmp_path, liars=liars)
    processes = world._cluster = Refused(tmp_path, code)  # type: ignore[assignment]
    if 1 in liars and code != 1:
        world.start([1])
        assert world.emptied == [1] and processes.opened == [[1], [1]]
        assert [(one.node, one.code) for one in world.ends] == [(1, code)]
    else:
        with pytest.raises(NodeFailed):
            world.start([1])
        assert processes.directory.exists() and world.emptied == []
