"""The README, done as it says: it prints what the page says, and is short enough to be read."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from os import environ
from pathlib import Path

import pytest

from api.kafka.apis import served_apis
from api.kafka_settings import KafkaSettings
from tests.fenced import ROOT, Reader, blocks, commands, matches, reader

README = (ROOT / "README.md").read_text()
BLOCKS = [(language, text) for language, text in blocks(README) if language]
LINES_MAX = 80
DEMO, TESTS = commands(BLOCKS[0][1])
FREE = ("--kafka-port", "0", "--grpc-port", "0", "--http-port", "0")
INSTALL_S = 600


@pytest.fixture(scope="module")
def me(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Somebody who reads, beside `tidelog dev`."""
    with reader(tmp_path_factory.mktemp("readme")) as somebody:
        yield somebody


def test_the_readme_is_short_and_its_commands_are_those_that_are_run_here() -> None:
    assert len(README.splitlines()) <= LINES_MAX
    assert [language for language, _ in BLOCKS] == ["console", "python", "console"]
    assert DEMO.line == "python3 dev.py run --demo --exit-after-demo\n"
    assert TESTS.line == "python3 dev.py test\n"  # which is what runs this
    assert "$ " not in "".join(text for language, text in blocks(README) if not language)


def test_the_readme_lists_the_kafka_apis_that_are_served() -> None:
    listed = re.search(r"Kafka APIs ((?:\d+, )+\d+);", README)
    assert listed is not None
    assert [int(one) for one in listed[1].split(", ")] == sorted(served_apis(KafkaSettings()))


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
def test_the_program_and_the_commands_print_what_is_said(me: Reader) -> None:
    program, session = BLOCKS[1][1], BLOCKS[2][1]
    done = me.run(f"python3 {me.keep(program)}")
    said = re.search(r"print\(.*\)  # (.*\n)", program)
    assert said is not None
    assert (done.stdout, done.returncode) == (said[1], 0)
    for command in commands(session):
        done = me.run(command.line)
        assert matches(command.printed, done.stdout), f"$ {command.line}{done.stdout}"
        assert done.returncode == 0, f"$ {command.line}"


def test_what_the_banner_suggests_works_as_it_stands(me: Reader) -> None:
    lines = me.banner.read_text().splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("Try:"))
    suggested = [line[6:] for line in lines[first:] if line[6:].startswith("tidelog ")]
    assert len(suggested) == 3
    done = me.run("\n".join(one.replace("orders", "banner") for one in suggested) + " --no-follow")
    assert done.returncode == 0, done.stdout
    assert 'alice {"total": 9.5}' in done.stdout


def shape(text: str) -> str:
    """Return a text in which one run's numbers are as another's."""
    return re.sub(r"\d[\d.:]*", "N", text)


@pytest.mark.packaging
def test_the_demo_prints_what_is_said(tmp_path: Path) -> None:
    """On a machine that has Python and an index of packages."""
    command = [sys.executable, str(ROOT / "dev.py"), *DEMO.line.split()[2:], *FREE]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environ | {"TIDELOG_VENV": str(tmp_path / "venv")},
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said, printed = (
        [line for line in shape(text).splitlines() if line.startswith(("tidelog", "Ready", "demo"))]
        for text in (DEMO.printed, done.stdout)
    )
    assert printed == said
    for exact in ("336776 records produced", "exactly the 776 departures", "all 30000 records"):
        assert exact in DEMO.printed
        assert exact in done.stdout
