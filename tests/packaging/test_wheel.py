"""An installed server lives beside someone else's `api` and `model`, and neither notices."""

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
NEIGHBOURS = ("api", "cluster", "consumer_groups", "logstore", "model", "proto")
HOSTILE = "raise RuntimeError('the neighbour was imported')\n"
IMPORT_ALL = """
import importlib, pkgutil, sys, tidelog
for module in pkgutil.walk_packages(tidelog.__path__, "tidelog."):
    if not module.name.endswith("__main__") and not module.name.startswith(tuple(sys.argv[1:])):
        print(importlib.import_module(module.name).__name__)
"""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an sdist from the tree, and the wheel from the sdist."""
    dist = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, ROOT, cwd=dist)
    assert built.returncode == 0, built.stdout + built.stderr
    return dist


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


def install(environment: Path, requirement: str) -> Path:
    """Install into a fresh environment where hostile neighbours have our folders' names."""
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    done = run(python, "-m", "pip", "install", "-q", "--no-compile", requirement, cwd=environment)
    assert done.returncode == 0, done.stderr
    (site,) = environment.glob("lib/python*/site-packages")
    for name in NEIGHBOURS:
        assert not (site / name).exists()
        (site / name).mkdir()
        (site / name / "__init__.py").write_text(HOSTILE)
    return python


@pytest.fixture(scope="module")
def server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("server"), f"{wheel}[server]")


@pytest.fixture(scope="module")
def client(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("client"), str(wheel))


def test_the_wheel_holds_one_package_and_the_sdist_what_builds_it(dist: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tidelog"}
    assert {"tidelog/py.typed", "tidelog/model/__init__.py"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        held = {name.partition("/")[2] for name in tar.getnames()}
    assert {"tools/wheel_namespace.py", "LICENSE", "dev.py", "model/__init__.py"} <= held
    assert not any(name.startswith((".venv", ".git/", ".tidelog")) for name in held)


def test_every_module_of_the_wheel_imports_beside_its_neighbours(
    server: Path, tmp_path: Path
) -> None:
    outcome = run(server, "-W", "error", "-c", IMPORT_ALL, "tidelog.testing", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert {"tidelog.model", "tidelog.logstore", "tidelog.api"} <= set(outcome.stdout.split())


def test_the_command_and_the_module_are_one(server: Path, tmp_path: Path) -> None:
    outcome = run(server, "-m", "tidelog", "version", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.startswith("tidelog ")
    assert run(server.with_name("tidelog"), "version", cwd=tmp_path).stdout == outcome.stdout


def test_the_server_refuses_to_run_without_assertions(server: Path, tmp_path: Path) -> None:
    outcome = run(server, "-O", "-m", "tidelog", "dev", cwd=tmp_path)
    assert outcome.returncode == 10
    assert outcome.stderr.startswith("error: assertions are off")
    assert outcome.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_client_alone_says_what_a_server_verb_needs(client: Path, tmp_path: Path) -> None:
    for verb in ("dev", "serve", "verify", "dump"):
        outcome = run(client, "-m", "tidelog", verb, cwd=tmp_path)
        assert outcome.returncode == 2
        assert "hint: pip install 'tidelog[server]'" in outcome.stderr


def test_the_client_alone_imports_without_the_server(client: Path, tmp_path: Path) -> None:
    server_packages = [f"tidelog.{name}" for name in (*NEIGHBOURS, "testing")]
    outcome = run(client, "-W", "error", "-c", IMPORT_ALL, *server_packages, cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert "tidelog._launcher" in outcome.stdout.split()


PROGRAM = """
import asyncio, importlib.util, sys, tidelog
assert importlib.util.find_spec("fastcrc") is None, "the base install has no extra"

async def main(url):
    async with tidelog.connect(url) as client:
        await client.topics.create("orders", partitions=3)
        async with client.producer(key=tidelog.UTF8, value=tidelog.UTF8) as producer:
            acks = await producer.send_many("orders", map(str, range(500)), key=lambda v: v)
        assert len({(ack.partition, ack.offset) for ack in acks}) == 500
        whole = tidelog.TimeRange(clock="append")
        async with client.replay("orders", during=whole, value=tidelog.UTF8) as history:
            print(sorted([int(record.value) async for record in history]) == list(range(500)))

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def node(server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the installed node; yield its gRPC address."""
    told, tell = os.pipe()
    process = subprocess.Popen(
        [
            *(server, "-m", "tidelog", "dev", "--memory", "--ready-fd", str(tell)),
            *("--kafka-port", "0", "--grpc-port", "0", "--http-port", "0"),
        ],
        cwd=tmp_path_factory.mktemp("node"), pass_fds=(tell,), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(tell)
    with os.fdopen(told) as ready:
        ports = json.loads(ready.read() or "{}")
    yield f"127.0.0.1:{ports['grpc']}"
    process.terminate()
    assert process.wait() == 0


def test_the_client_alone_writes_and_reads(client: Path, node: str, tmp_path: Path) -> None:
    outcome = run(client, "-W", "error", "-c", PROGRAM, f"tidelog://{node}", cwd=tmp_path)
    assert (outcome.returncode, outcome.stdout) == (0, "True\n"), outcome.stderr
    command = (client, "-m", "tidelog", "-X", f"client.address={node}")
    listed = run(*command, "topic", "list", "--no-header", cwd=tmp_path)
    assert listed.stdout.split()[:2] == ["orders", "3"], listed.stderr
    read = run(*command, "consume", "orders", "--no-follow", "-f", "value", cwd=tmp_path)
    assert sorted(map(int, read.stdout.split())) == list(range(500)), read.stderr


def test_the_base_client_reads_what_one_with_every_codec_has_written(
    server: Path, client: Path, node: str
) -> None:
    def tidelog(python: Path, *words: str) -> str:
        words = (*words, "-X", f"client.address={node}")
        done = run(python, "-m", "tidelog", *words, cwd=python.parent)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for codec in ("gzip", "zstd"):
        tidelog(server, "topic", "create", codec)
        tidelog(server, "produce", codec, "-z", codec, "-v", "squeezed")
        assert tidelog(client, "consume", codec, "-n", "1", "-f", "value") == "squeezed\n"


BROKER = """
import asyncio
from tidelog import testing

async def main():
    async with testing.broker(clock=testing.ManualClock()) as broker:
        await broker.client.topics.create("orders")
        async with broker.client.producer() as producer:
            await producer.send("orders", b"v")
        await broker.advance(minutes=5)
        print([record.value for record in await broker.records("orders")])

asyncio.run(main())
"""


def test_an_installed_server_runs_inside_somebodys_test(server: Path, tmp_path: Path) -> None:
    outcome = run(server, "-W", "error", "-c", BROKER, cwd=tmp_path)
    assert (outcome.returncode, outcome.stdout) == (0, "[b'v']\n"), outcome.stderr
    assert list(tmp_path.iterdir()) == []
