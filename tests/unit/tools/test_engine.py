"""tools/engine.py where there is an engine, and where there can be none; never a real one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SAYS = 'echo "$DOCKER_HOST told $*"; exit 3'


def run(folder: Path, docker: str | None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the engine of a `docker` that is a script; None: there is none."""
    programs = folder / "programs"
    programs.mkdir()
    if docker is not None:
        (programs / "docker").write_text(f"#!/bin/sh\n{docker}\n")
        (programs / "docker").chmod(0o755)
    return subprocess.run(
        [sys.executable, "-m", "tools.engine", "/bin/sh", "-c", SAYS, "sh", "a", "b"],
        cwd=ROOT,
        env={"PATH": str(programs), "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_engine_that_answers_is_used_as_it_is(tmp_path: Path) -> None:
    done = run(tmp_path, "exit 0", DOCKER_HOST="unix:///of/the/machine")
    assert (done.returncode, done.stdout) == (3, "unix:///of/the/machine told a b\n")
    assert done.stderr == ""


@pytest.mark.parametrize("docker", [None, "exit 1", '[ "$1" = version ]'])
def test_where_there_can_be_none_that_is_said_and_the_command_runs(
    tmp_path: Path, docker: str | None
) -> None:
    done = run(tmp_path, docker)  # no apt-get is on its path: nothing can be installed
    assert (done.returncode, done.stdout) == (3, " told a b\n")
    assert done.stderr == (
        "no container engine: none answers, and only root on Debian can install one here; "
        "going on without\n"
    )


def test_without_a_command_it_explains_itself() -> None:
    words = [sys.executable, "-m", "tools.engine"]
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Run a command beside a container engine")
