"""The story of three containers in its short form, where there is an engine."""

import subprocess
import sys
from importlib.util import find_spec
from os import environ

import pytest

from tests.cluster.compose_engine import absent
from tests.cluster.compose_file import ROOT

STORY_S = 1_200
LATE = 4
"""All held, but not within its time: so it is beside other work."""


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.cluster.compose_story", *words],
        cwd=ROOT,
        env={**environ, **environment},
        capture_output=True,
        text=True,
        timeout=STORY_S,
        check=False,
    )


pytestmark = pytest.mark.skipif(
    find_spec("confluent_kafka") is None, reason="confluent-kafka makes the load"
)


def test_without_an_engine_nothing_is_tried_and_that_is_said() -> None:
    done = run("--short", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == 5
    assert done.stdout.startswith("SKIPPED: the compose story needs a container engine")


def test_a_row_that_is_none_is_refused() -> None:
    done = run("kil")
    assert done.returncode == 2
    assert "no row kil; there are: grpc, kafka, kill" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(STORY_S)
def test_three_containers_keep_the_promise() -> None:
    if (why := absent()) is not None:
        pytest.skip(f"no container engine: {why}")
    done = run("--short")
    sys.stdout.write(done.stdout)  # the figures, of which none decides here
    assert done.returncode in {0, LATE}, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
