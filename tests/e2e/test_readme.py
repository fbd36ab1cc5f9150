"""Every fenced command of the README, run against a node as it says."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.kafka.apis import served_apis
from api.kafka_settings import KafkaSettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(language, text) for language, text in FENCE.findall(README) if language]
READY_S = 60


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what the node prints is written to."""
    return tmp_path_factory.mktemp("printed") / "banner"


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, printed: Path) -> Iterator[dict[str, int]]:
    """Run `tidelog dev` on free ports; yield them by door."""
    told, tell = os.pipe()
    with printed.open("wb") as banner:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tidelog", "dev", "--ready-fd", str(tell)),
                *("--data-dir", str(tmp_path_factory.mktemp("readme"))),
                *("--kafka-port", "0", "--grpc-port", "0", "--http-port", "0"),
            ],
            cwd=ROOT,
            pass_fds=(tell,),
            stdout=banner,
        )
    os.close(tell)
    with os.fdopen(told) as ready:
        document = json.loads(ready.read() or "{}")
    yield {door: int(str(where).rpartition(":")[2]) for door, where in document.items()}
    process.terminate()
    assert process.wait(READY_S) == 0


def run(
    command: list[str], ports: dict[str, int], tmp_path: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would, with `tidelog` on the path and the node's address set."""
    here = tmp_path / "bin"
    here.mkdir()
    (here / "tidelog").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tidelog "$@"\n')
    (here / "tidelog").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{here}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TIDELOG_CLIENT__ADDRESS": f"127.0.0.1:{ports['grpc']}",
    }
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=READY_S
    )


def placed(text: str, ports: dict[str, int]) -> str:
    return text.replace("localhost:9095", f"127.0.0.1:{ports['grpc']}").replace(
        "127.0.0.1:9092", f"127.0.0.1:{ports['kafka']}"
    )


def test_the_readme_lists_the_kafka_apis_that_are_served() -> None:
    listed = re.search(r"Kafka APIs ((?:\d+, )+\d+);", README)
    assert listed is not None
    assert [int(one) for one in listed[1].split(", ")] == sorted(served_apis(KafkaSettings()))


def test_the_readme_has_a_program_and_commands() -> None:
    assert [language for language, _ in BLOCKS] == ["python", "sh", "python"]


def test_the_program_runs_and_replays_what_it_wrote(ports: dict[str, int], tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(placed(BLOCKS[0][1], ports))
    done = run([sys.executable, str(program)], ports, tmp_path)
    assert done.returncode == 0, done.stderr
    place, *replayed = done.stdout.splitlines()
    assert re.fullmatch(r"orders/\d@\d+", place)
    assert replayed == ["2026-01-01 12:00:00+00:00 b'9.50'"]


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
def test_the_commands_run(ports: dict[str, int], tmp_path: Path) -> None:
    script = "set -eu\n" + placed(dict(BLOCKS)["sh"], ports)
    done = run(["sh", "-c", script], ports, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1767268800000 alice 9.50\n" in done.stdout
    assert len(re.findall(r"^orders +\d +\S+ +(?:yes|no) ", done.stdout, re.MULTILINE)) == 6
    assert re.search(r"^billing +Empty +0 +2 ", done.stdout, re.MULTILINE), done.stdout


def test_what_the_banner_suggests_works_as_it_stands(
    ports: dict[str, int], printed: Path, tmp_path: Path
) -> None:
    lines = printed.read_text().splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("Try:"))
    commands = [line[6:] for line in lines[first:] if line[6:].startswith("tidelog ")]
    assert len(commands) == 3
    script = "\n".join(["set -eu", *(one.replace("orders", "banner") for one in commands)])
    done = run(["bash", "-c", f"{script} --no-follow"], ports, tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'alice {"total": 9.5}' in done.stdout
