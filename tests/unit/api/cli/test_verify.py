"""`tidelog verify` and `tidelog dump` over directories that a node has written."""

import asyncio
import gc
import io
import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from api.cli.overlay_disk import OverlayDisk
from cluster.shell.raft_opening import ALONE, AMONG_OTHERS
from logstore.disk_posix import PosixDisk
from model.errors import DirectoryRefused
from model.ids import Position
from tests.group_state import commit
from tests.one_node import one_node
from tidelog.cli.program import main
from tidelog.cli.run import Run

VALUES = [b"hello %d" % number for number in range(20)]


def run(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main(words, Run(environment={}, stdout=out, stderr=err))
    return code, out.getvalue(), err.getvalue()


def verified(directory: Path) -> tuple[int, dict[str, object], list[dict[str, object]]]:
    code, out, err = run("verify", str(directory), "--json")
    assert json.loads(out)["items"], err
    document = json.loads(out)
    return code, document["items"][0], document["errors"]


def image(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def largest(directory: Path, pattern: str) -> Path:
    return max(directory.rglob(pattern), key=lambda path: path.stat().st_size)


def written(directory: Path, *, clean: bool) -> Path:
    """Return what `_written` returns, once nothing of its node is left: it holds the lock."""
    written = asyncio.run(_written(directory, clean=clean))
    gc.collect()
    return written


async def _written(directory: Path, *, clean: bool) -> Path:
    """Return a directory with two partitions of a topic; stopped cleanly, or as by a crash."""
    async with one_node(directory) as one:
        await one.create("orders", 2)
        for _ in range(3):
            await one.produce("orders", 0, VALUES)
        crashed = directory.with_name("crashed")
        if not clean:
            log = one.node.broker.partition("orders", 0).log
            await one.node.writer.until(lambda: log.filed_end == log.log_end)
            shutil.copytree(directory, crashed)
    return directory if clean else crashed


def test_a_clean_directory_is_sound_and_stays_as_it_is(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=True)
    before = image(directory)
    code, found, errors = verified(directory)
    assert image(directory) == before
    assert (code, errors) == (0, [])
    assert (found["clean"], found["sound"], found["cut"]) == (True, True, [])
    partitions = found["partitions"]
    assert isinstance(partitions, list)
    ends = {one["partition"]: (one["log_start"], one["log_end"]) for one in partitions}
    assert ends == {0: (0, 60), 1: (0, 0)}
    assert next(one for one in partitions if one["partition"] == 0)["batches"] == 3
    code, out, err = run("verify", str(directory))
    assert out.splitlines()[0].split()[:4] == ["TOPIC-ID", "PART", "LOG-START", "LOG-END"]
    assert "all data is sound" in err


def test_after_a_crash_the_journal_counts_and_nothing_is_changed(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=False)
    before = image(directory)
    code, found, _ = verified(directory)
    assert image(directory) == before
    assert (code, found["clean"], found["sound"]) == (0, False, True)
    partitions = found["partitions"]
    assert isinstance(partitions, list)
    assert max(one["log_end"] for one in partitions) == 60


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("metadata/*.raft", "metadata/ has neither log nor snapshot"),
        ("metadata/*", "metadata/ has neither log nor snapshot"),
        ("metadata/quorum_state", "metadata/quorum_state is missing beside a log"),
    ],
)
def test_metadata_that_a_start_would_miss_are_missed(
    tmp_path: Path, pattern: str, said: str
) -> None:
    directory = written(tmp_path / "d", clean=True)
    for name in directory.glob(pattern):
        name.unlink()
    before = image(directory)
    code, _, err = run("verify", str(directory))
    assert image(directory) == before
    assert (code, said in err) == (11, True), err


@pytest.mark.parametrize(
    ("pattern", "of_several"), [("metadata/*.raft", False), ("metadata/*", True)]
)
def test_who_may_have_been_one_of_several_is_told_what_those_do(
    tmp_path: Path, pattern: str, of_several: bool
) -> None:
    """Without `quorum_state` nothing tells; and of one of several an old copy is refused."""
    directory = written(tmp_path / "d", clean=True)
    for name in directory.glob(pattern):
        name.unlink() if name.is_file() else shutil.rmtree(name)
    _, found, _ = verified(directory)
    assert ALONE in str(found["metadata"])
    assert (AMONG_OTHERS in str(found["metadata"])) is of_several


def test_metadata_put_back_as_an_older_copy_are_told_as_a_start_does(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=True)
    older = tmp_path / "older"
    shutil.copytree(directory / "metadata", older)
    asyncio.run(_started_again(directory))
    gc.collect()
    assert verified(directory)[0] == 0
    shutil.rmtree(directory / "metadata")
    shutil.copytree(older, directory / "metadata")
    before = image(directory)
    code, found, (error,) = verified(directory)
    assert image(directory) == before
    assert (code, found["sound"]) == (11, False)
    gc.collect()
    with pytest.raises(DirectoryRefused) as refused:
        asyncio.run(_started_again(directory))
    assert refused.value.detail == found["metadata"]
    assert refused.value.detail in str(error["text"])


async def _started_again(directory: Path) -> None:
    async with one_node(directory):
        pass


def test_damaged_metadata_hide_nothing_of_the_partitions(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=True)
    flip(max(directory.glob("metadata/*.raft")), 20)
    flip(largest(directory / "partitions", "*.log"), 70)
    code, found, errors = verified(directory)
    assert (code, found["sound"]) == (11, False)
    assert found["metadata"] != "sound"
    assert sorted(str(error["reason"]) for error in errors) == ["CORRUPT_LOG", "None"]
    _, out, err = run("verify", str(directory))
    assert "damaged" in out
    assert "all data is sound" not in err
    assert str(found["metadata"]) in err


def test_a_torn_end_of_the_metadata_is_told_as_a_cut(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=True)
    log = max(directory.glob("metadata/*.raft"))
    flip(log, -1)
    code, found, errors = verified(directory)
    assert (code, errors, found["metadata"]) == (0, [], "sound")
    cut = found["cut"]
    assert isinstance(cut, list)
    assert [one["file"] for one in cut] == [f"metadata/{log.name}"]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_append_times_that_a_file_has_lost_are_a_fault(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=True)
    name = largest(directory, "*.times")
    size = name.stat().st_size
    with name.open("r+b") as file:
        file.truncate(size - 10)
    code, found, errors = verified(directory)
    assert (code, found["sound"]) == (1, False)
    (error,) = errors
    assert str(error["text"]).endswith("the file ends: append times are lost")


def test_a_torn_tail_is_told_as_a_cut(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=False)
    log = largest(directory / "partitions", "*.log")
    with log.open("ab") as file:
        file.write(b"\0" * 100)
    code, found, _ = verified(directory)
    assert code == 0
    cut = found["cut"]
    assert isinstance(cut, list)
    assert any(one["size_bytes"] >= 100 and one["file"].endswith(".log") for one in cut)


@pytest.mark.parametrize("at", [70, -1])
def test_a_flipped_bit_in_a_record_is_found(tmp_path: Path, at: int) -> None:
    directory = written(tmp_path / "d", clean=True)
    log = largest(directory / "partitions", "*.log")
    content = bytearray(log.read_bytes())
    content[at] ^= 1
    log.write_bytes(content)
    code, found, errors = verified(directory)
    assert (code, found["sound"]) == (1, False)
    assert errors[0]["reason"] == "CORRUPT_LOG"
    assert "checksum" in str(errors[0]["text"])


def test_a_missing_segment_and_a_damaged_time_row_are_faults(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=True)
    times = largest(directory / "partitions", "*.times")
    content = bytearray(times.read_bytes())
    content[30] ^= 1
    times.write_bytes(content)
    code, _, errors = verified(directory)
    assert (code, "row damaged" in str(errors[0]["text"])) == (1, True)
    largest(directory / "partitions", "*.log").unlink()
    code, _, errors = verified(directory)
    assert (code, "missing" in str(errors[0]["text"])) == (1, True)


def test_a_damaged_index_is_a_cache_and_no_fault(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=True)
    log = largest(directory / "partitions", "*.log")
    log.with_suffix(".index").write_bytes(b"nonsense")
    code, found, _ = verified(directory)
    partitions = found["partitions"]
    assert isinstance(partitions, list)
    assert code == 0
    assert any(one["caches"] for one in partitions)


def test_what_cannot_be_verified_says_why(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=True)
    assert run("verify", str(tmp_path / "nowhere"))[0] == 1
    identity = bytearray((directory / "identity").read_bytes())
    identity[20] ^= 1
    (directory / "identity").write_bytes(identity)
    assert run("verify", str(directory))[0] == 11


async def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    async with one_node(tmp_path / "d"):
        code, _, err = run("verify", str(tmp_path / "d"))
    assert (code, f"in use by process {os.getpid()}" in err) == (12, True)


def test_dump_prints_every_kind_of_file(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=True)
    log = largest(directory / "partitions", "*.log")
    code, out, _ = run("dump", "segment", str(log), "-F", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(row["base_offset"], row["last_offset"]) for row in rows] == [
        (0, 19),
        (20, 39),
        (40, 59),
    ]
    records = run("dump", "segment", str(log), "--records")[1].splitlines()
    assert len(records) == 63
    assert "value='hello 0'" in records[1]
    code, out, _ = run("dump", "times", str(log.with_suffix(".times")), "-F", "jsonl")
    assert (code, json.loads(out.splitlines()[0])["offset"]) == (0, 0)
    journal = directory / "journal" / "00000001.wal"
    kinds = [
        json.loads(line).get("kind")
        for line in run("dump", "journal", str(journal), "-F", "jsonl")[1].splitlines()
    ]
    assert kinds[0] == "header"
    assert kinds.count("append") == 3
    indexed = log.with_suffix(".index")
    if indexed.exists():
        code, out, _ = run("dump", "index", str(indexed), "-F", "jsonl")
        assert (code, json.loads(out.splitlines()[0])["position"]) == (0, 0)


def test_dump_marks_what_does_not_parse(tmp_path: Path) -> None:
    directory = written(tmp_path / "d", clean=True)
    log = largest(directory / "partitions", "*.log")
    content = bytearray(log.read_bytes())
    content[70] ^= 1
    log.write_bytes(content + b"\0" * 10)
    code, out, err = run("dump", "segment", str(log))
    lines = out.splitlines()
    assert (code, len(lines)) == (1, 4)
    assert "fault='checksum" in lines[0]
    assert "fault=" not in lines[1]
    assert "10 bytes" in lines[3]
    assert "2 rows do not parse" in err
    for kind in ("times", "index"):
        broken = log.with_suffix(f".{kind}")
        broken.write_bytes(b"x")
        assert run("dump", kind, str(broken))[0] == 1
    (tmp_path / "zeros.wal").write_bytes(bytes(65_536))
    assert run("dump", "journal", str(tmp_path / "zeros.wal"))[0] == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("segment", "/nowhere/x.log"), 1),
        (("segment", "/"), 2),
        (("index", "/etc/hostname"), 2),
        (("raft", "x"), 2),
    ],
)
def test_dump_of_nothing_says_so(words: tuple[str, str], code: int) -> None:
    assert run("dump", *words)[0] == code


def test_the_overlay_shows_what_was_written_and_keeps_the_real_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    (tmp_path / "d").mkdir()
    disk = OverlayDisk(PosixDisk(str(tmp_path), read_only=True))
    file = disk.open("f")
    file.pwrite([b"ab", b"c"], Position(8))
    assert file.pread(100, Position(6)) == b"67abc"
    file.truncate(4)
    file.truncate(6)
    assert file.pread(100, Position(0)) == b"0123\0\0"
    disk.rename("f", "g")
    assert disk.list("") == ["d", "g"]
    with pytest.raises(FileNotFoundError):
        disk.open("f")
    disk.open("d/new", create=True).pwrite([b"x"], Position(0))
    assert (disk.list("d"), disk.make_directory("d"), disk.make_directory("e")) == (
        ["new"],
        False,
        True,
    )
    disk.unlink("d/new")
    disk.remove_directory("d")
    with pytest.raises(FileNotFoundError):
        disk.list("d")
    assert (tmp_path / "f").read_bytes() == b"0123456789"
    assert sorted(os.listdir(tmp_path)) == ["d", "f"]


async def _coordinated(directory: Path) -> None:
    """Run a node whose coordinators make snapshots, until two of one partition are there."""
    async with one_node(directory, "cluster.state_snapshot_records=10") as one:
        state = one.node.broker.groups_state
        offset = 0
        while not any(partition.log_start for partition in one.node.partitions):
            offset += 1
            await commit(state, "a", offset, metadata="so far")


def test_snapshots_of_coordinators_are_checked_and_dumped(tmp_path: Path) -> None:
    asyncio.run(_coordinated(tmp_path))
    gc.collect()
    older, newer = sorted(tmp_path.rglob("*.state"))
    code, found, errors = verified(tmp_path)
    assert (code, errors, found["sound"]) == (0, [], True)
    code, out, _ = run("dump", "state", str(newer), "-F", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row["type"] for row in rows] == ["snapshot", "GroupChanged", "OffsetCommitted"]
    assert rows[0]["offset"] == int(newer.name.partition(".")[0])
    assert rows[2]["metadata"] == "so far"

    newer.write_bytes(newer.read_bytes()[:-1] + b"x")  # the log reaches back to the older one
    code, found, errors = verified(tmp_path)
    assert (code, errors) == (0, [])
    assert newer.name in json.dumps(found["partitions"])
    code, out, _ = run("dump", "state", str(newer), "-F", "jsonl")
    assert (code, "checksum" in out) == (1, True)
    older.write_bytes(b"")
    code, _, errors = verified(tmp_path)
    assert code == 1
    assert sorted(name in str(errors) for name in (older.name, newer.name)) == [True, True]

    older.unlink()
    newer.rename(newer.with_name(f"{10**9:020d}.state"))
    code, _, errors = verified(tmp_path)
    assert (code, "records are missing" in str(errors)) == (1, True)
