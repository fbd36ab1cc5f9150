"""tools/engine.py where there is an engine, and where there can be none; never a real one."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.waiting import until

ROOT = Path(__file__).parents[3]
SAYS = 'echo "$DOCKER_HOST told $*"; exit 3'
AS_ROOT = "import os, sys; os.geteuid = int; from tools.engine import main; sys.exit(main({words}))"
UNTIL_TOLD = """#!{python}
import os, signal, sys, time

parent = os.getppid()

def say(what):
    with open({story!r}, "a") as story:
        story.write("{name} " + what + "\\n")

def told(*_):
    say("told")
    if {impatient} and os.getppid() == parent:
        os.kill(parent, signal.SIGTERM)
        time.sleep(0.5)
    say("ended" if os.getppid() == parent else "ended alone")
    sys.exit()

signal.signal(signal.SIGTERM, told)
say("began")
print("began", flush=True)
while True:
    signal.pause()
"""


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


def until_told(path: Path, story: Path, *, impatient: bool = False) -> None:
    """Write a program that runs until SIGTERM, and tells its story.

    `impatient`: it has SIGTERM sent once more, to who started it and waits for its end, and takes
    a while to end, in which it would be left alone.
    """
    words = {"python": sys.executable, "story": f"{story}", "name": path.name}
    path.write_text(UNTIL_TOLD.format(impatient=impatient, **words))
    path.chmod(0o755)


def beside_an_engine(folder: Path, *, impatient: bool = False) -> "subprocess.Popen[str]":
    """Start a program beside an engine of its own; neither ends before it is told to."""
    programs, story = folder / "programs", folder / "story"
    programs.mkdir()
    for name in ("apt-get", "iptables", "debootstrap"):
        (programs / name).symlink_to("/bin/false")
    if (setpriv := shutil.which("setpriv")) is not None:
        (programs / "setpriv").symlink_to(setpriv)
    (programs / "docker").write_text('#!/bin/sh\n[ -n "$DOCKER_HOST" ]\n')
    (programs / "docker").chmod(0o755)
    until_told(programs / "dockerd", story, impatient=impatient)
    until_told(folder / "command", story)
    base = folder / "tidelog/engine/base.tar"
    base.parent.mkdir(parents=True)
    base.touch()
    return subprocess.Popen(
        [sys.executable, "-c", AS_ROOT.format(words=[f"{folder / 'command'}"])],
        cwd=ROOT,
        env={"PATH": f"{programs}", "XDG_CACHE_HOME": f"{folder}", "TMPDIR": f"{folder}"},
        stdout=subprocess.PIPE,
        text=True,
    )


def told(story: Path) -> list[str]:
    return story.read_text().splitlines()


def test_who_ends_it_ends_the_command_and_then_the_engine(tmp_path: Path) -> None:
    with beside_an_engine(tmp_path, impatient=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "began\n"
        until(lambda: "dockerd began" in told(tmp_path / "story"), "the engine")
        running.terminate()
        assert running.wait() == 128 + signal.SIGTERM
    assert told(tmp_path / "story")[2:] == [
        "command told",
        "command ended",
        "dockerd told",
        "dockerd ended",
    ]


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv tells who is left behind")
def test_no_engine_is_left_behind_where_it_is_killed(tmp_path: Path) -> None:
    with beside_an_engine(tmp_path) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "began\n"
        until(lambda: "dockerd began" in told(tmp_path / "story"), "the engine")
        running.kill()
    ended = {"command ended alone", "dockerd ended alone"}
    until(lambda: ended <= set(told(tmp_path / "story")), "the end of both")
