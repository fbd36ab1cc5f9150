"""`tidelog dev` and `tidelog serve` as processes: ready, refused, stopped; exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from api.cli.banner import banner
from api.cli.dev import MEMORY_FREE_BYTES_MIN, _memory_directory
from api.cli.starting import tell_ready
from api.door import Address

ROOT = Path(__file__).parents[4]
NO_PORTS = tuple(
    word
    for door, bind in (("kafka", "127.0.0.1:0"), ("http", "none"), ("grpc", "none"))
    for word in ("-X", f"listeners.{door}.bind={bind}")
)
FREE = ("--kafka-port", "0", "--http-port", "0", "-X", "listeners.grpc.bind=none")


def environment() -> Mapping[str, str]:
    plain = {name: text for name, text in os.environ.items() if not name.startswith("TIDELOG_")}
    return {**plain, "PYTHONPATH": str(ROOT)}


@contextmanager
def started(where: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, int]]]:
    """Start a node; yield it with its ports once it says that it is ready."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "tidelog", *words, "--ready-fd", str(writer)],
        cwd=where, pass_fds=[writer], env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writer)
    try:
        with os.fdopen(reader) as ready:
            line = ready.readline()
        if not line:
            pytest.fail(f"not ready: {process.communicate()}")
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def refused(where: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tidelog", *words],
        cwd=where, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith(("error:", "hint:"))]
    assert [line.split(":")[0] for line in errors] == ["error", "hint"], done.stderr
    return done.returncode, errors[0], errors[1]


def test_dev_tells_people_and_programs_and_stops_cleanly(tmp_path: Path) -> None:
    words = ("dev", *FREE, "--seed-topic", "orders:3", "--ports-file", "ports.json")
    with started(tmp_path, *words) as (process, ports):
        assert json.loads((tmp_path / "ports.json").read_text()) == ports
        assert ports.keys() == {"kafka", "http"}
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/metrics") as answer:
            assert b'tidelog_topic_partitions{topic="orders"} 3.0' in answer.read()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.startswith("tidelog ")
    assert f"kcat -b 127.0.0.1:{ports['kafka']} -L" in out
    assert "gRPC" not in out
    assert "Ready in " in out
    assert "Traceback" not in err
    assert (tmp_path / ".tidelog" / "clean").exists()


def test_in_memory_leaves_nothing_behind(tmp_path: Path) -> None:
    with started(tmp_path, "dev", *FREE, "--memory") as (process, _):
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert process.returncode == 0
    assert "nothing is kept" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free", "there"), [(MEMORY_FREE_BYTES_MIN, True), (64 << 20, False)])
def test_a_small_file_system_in_memory_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, *, there: bool
) -> None:
    monkeypatch.setattr("api.cli.dev.MEMORY_DIR", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    made = Path(_memory_directory())
    made.rmdir()
    assert (made.parent == tmp_path) == there


def test_what_is_taken_is_named(tmp_path: Path) -> None:
    with started(tmp_path, "dev", *FREE) as (_, ports):
        code, error, hint = refused(tmp_path, "dev", *FREE)
        assert (code, "in use by process" in error, "--data-dir DIR" in hint) == (12, True, True)
        taken = ("dev", *FREE, "--data-dir", "other", "--kafka-port", str(ports["kafka"]))
        code, error, hint = refused(tmp_path, *taken)
        assert (code, f"127.0.0.1:{ports['kafka']}" in error, "--kafka-port" in hint) == (
            10, True, True,
        )  # fmt: skip


def test_serve_refuses_strangers_unless_it_is_told_to(tmp_path: Path) -> None:
    told = ("-X", "listeners.kafka.advertise=localhost:19092")
    wide = ("-X", "listeners.kafka.bind=0.0.0.0:0", *told, "-X", "listeners.http.bind=none")
    code, error, hint = refused(tmp_path, "serve", *wide)
    assert (code, "listeners.kafka.bind = 0.0.0.0:0" in error) == (10, True)
    assert "127.0.0.1" in hint
    assert "security.mode" in hint
    assert not (tmp_path / "tidelog-data").exists()
    code, error, _ = refused(tmp_path, "serve", "--check", *wide)
    assert code == 10
    closed = ("-X", "listeners.grpc.bind=none")
    with started(tmp_path, "serve", *wide, *closed, "-X", "security.mode=open") as (process, ports):
        assert ports.keys() == {"kafka"}
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode == 0
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events[0] == "node_starting"
    assert {"node_open", "node_ready", "node_stopped"} <= set(events)


def test_a_start_says_how_it_found_the_directory(tmp_path: Path) -> None:
    """A new one is no unclean stop: there was no node that could have been stopped."""
    found = []
    for end in (signal.SIGKILL, signal.SIGTERM, signal.SIGTERM):
        with started(tmp_path, "serve", *NO_PORTS) as (process, _):
            process.send_signal(end)
            _, err = process.communicate()
        (line,) = [one for one in map(json.loads, err.splitlines())
                   if one["event"] == "node_recovered"]  # fmt: skip
        found.append({word: line[word] for word in ("new", "clean") if word in line})
    assert found == [{"new": "true"}, {"clean": "false"}, {"clean": "true"}]


def test_serve_checks_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('[node]\nid = 7\n[log]\ntail_bytes = "2MiB"\n')
    done = subprocess.run(
        [sys.executable, "-m", "tidelog", "serve", "--config", "good.toml", "--check"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert ["log.tail_bytes", "2MiB", "good.toml"] in [line.split() for line in
                                                      done.stdout.splitlines()]  # fmt: skip
    (tmp_path / "bad.toml").write_text("[node]\nidd = 7\n")
    code, error, _ = refused(tmp_path, "serve", "--config", "bad.toml", "--check")
    assert (code, 'did you mean "node.id"' in error) == (10, True)


def test_directories_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    code, error, hint = refused(tmp_path, "dev", *FREE, "--data-dir", "file/below")
    assert (code, "file/below" in error, "--data-dir DIR" in hint) == (10, True, True)
    unnamed = ("serve", *NO_PORTS, "-X", "node.data_dir=file/below")
    code, error, hint = refused(tmp_path, *unnamed)
    assert (code, "file/below" in error, "-X node.data_dir=DIR" in hint) == (10, True, True)


def test_a_directory_of_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    with started(tmp_path, "dev", *FREE) as (process, _):
        process.send_signal(signal.SIGTERM)
        process.communicate()
    from logstore.replace_file import seal  # noqa: PLC0415 - only here

    path = tmp_path / ".tidelog" / "identity"
    newer = bytearray(path.read_bytes()[:-4])
    newer[9] = 99
    path.write_bytes(seal(bytes(newer)))
    before = path.read_bytes()
    code, error, hint = refused(tmp_path, "dev", *FREE)
    assert (code, "format 99" in error, "newer Tidelog" in hint) == (13, True, True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (("--demo", "nope"), 'there is no demo "nope"', "--demo flights"),
        (("--exit-after-demo",), "--exit-after-demo without a demo", "--demo --exit-after-demo"),
        (("--memory", "--data-dir", "d"), "--memory keeps nothing", "leave one out"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_the_node_starts(
    tmp_path: Path, words: tuple[str, ...], *, error: str, hint: str
) -> None:
    code, told, what_now = refused(tmp_path, "dev", *FREE, *words)
    assert (code, error in told, hint in what_now) == (2, True, True)
    assert list(tmp_path.iterdir()) == []


def test_a_topic_to_begin_with_that_is_there_otherwise_is_told(tmp_path: Path) -> None:
    told = []
    for seed in ("orders:2", "orders:3", "orders:2", "orders"):
        with started(tmp_path, "dev", *FREE, "--seed-topic", seed) as (process, _):
            process.send_signal(signal.SIGTERM)
            told.append(process.communicate()[1])
    assert 'topic "orders" is there, with 2 partitions; it stays as it is' in told[1]
    assert all("orders" not in told[number] for number in (0, 2, 3))


def test_the_banner_lists_only_what_is_served() -> None:
    text = banner(
        {"kafka": Address("127.0.0.1", 9092), "grpc": Address("127.0.0.1", 9095)},
        version="0.1.0", data_dir="./.tidelog", is_open=False,
    )  # fmt: skip
    assert text == (
        "tidelog 0.1.0  dev mode · one node · data in ./.tidelog (delete it to start over) · "
        "no authentication, loopback only\n"
        "  Kafka    127.0.0.1:9092        kcat -b 127.0.0.1:9092 -L\n"
        "  gRPC     127.0.0.1:9095        grpcurl -plaintext 127.0.0.1:9095 list\n"
        "Try:  tidelog topic create orders -p 6\n"
        "      tidelog produce orders -k alice <<< '{\"total\": 9.5}'\n"
        "      tidelog consume orders -o start\n"
    )


def test_a_node_goes_on_when_nobody_waits_for_it_any_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    tell_ready({"kafka": Address("127.0.0.1", 9092)}, ready_fd=writer, ports_file=None)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writer)


@pytest.mark.parametrize("where", ["new", "new/data"])
def test_the_ports_may_lie_in_a_data_directory_that_the_start_makes(
    tmp_path: Path, where: str
) -> None:
    words = ("serve", "-X", f"node.data_dir={where}", *NO_PORTS, "--ports-file", "new/ports.json")
    with started(tmp_path, *words) as (_, ports):
        assert json.loads((tmp_path / "new" / "ports.json").read_text()) == ports


@pytest.mark.parametrize("command", ["dev", "serve"])
@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (("--ready-fd", "99"), "--ready-fd 99: Bad file descriptor", "open a descriptor"),
        (("--ports-file", "no/p"), "--ports-file no/p: cannot be written", "name a file in a"),
        (("--ports-file", "d/no/p"), "--ports-file d/no/p: cannot be written", "name a file in a"),
        (("--ports-file", "."), "--ports-file .: cannot be written", "this is a directory"),
    ],
)
def test_signals_that_cannot_be_given_are_refused_before_anything_is_opened(
    tmp_path: Path, *, command: str, words: tuple[str, ...], said: str, hint: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tidelog", command, "-X", "node.data_dir=d", *words],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (10, "")
    first, second = ended.stderr.splitlines()
    assert first == f"error: {said}"
    assert hint in second
    assert not (tmp_path / "d").exists()


def test_the_banner_can_be_copied_where_a_node_listens_on_ipv6() -> None:
    both = {"kafka": Address("::1", 9092), "grpc": Address("::1", 9096)}
    text = banner(both, version="0.1.0", data_dir="./.tidelog", is_open=False)
    assert "kcat -b [::1]:9092 -L" in text
    assert "-X client.address=[::1]:9096" in text
    assert " ::1:" not in text
