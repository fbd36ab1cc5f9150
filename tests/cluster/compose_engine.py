"""The engine that runs the services of compose.yaml, by its own command line.

Which engine that is, says `DOCKER_HOST` or docker's own configuration. The services run under a
project name of their own, with their own volumes: whoever has the cluster of compose.yaml running
loses nothing, but is told that its ports are taken.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from os import environ
from typing import Any, Final

from tests.cluster.compose_file import ROOT

PROJECT: Final = "tidelog-story"
NETWORK: Final = f"{PROJECT}_default"
IMAGE: Final = "tidelog:local"
KCAT: Final = "tidelog-kcat:local"
PATIENCE_S: Final = 120.0
"""For one command; a build has more."""
BUILD_S: Final = 900.0


class EngineFailed(Exception):  # noqa: N818 - says what happened
    """A command of the engine failed."""


def absent() -> str | None:
    """Return why there is no engine to run services on; None: there is one."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    for words in (("version",), ("compose", "version")):
        try:
            run("docker", *words, patience_s=20.0)
        except EngineFailed as failed:
            return str(failed).strip().splitlines()[-1]
    return None


def run(*words: str, stdin: str = "", patience_s: float = PATIENCE_S) -> str:
    """Return what a command prints.

    Raises:
        EngineFailed: it failed, or took too long; with what it said.
    """
    try:
        done = subprocess.run(
            words,
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise EngineFailed(f"{' '.join(words)}: not done within {patience_s:.0f} s") from late
    if done.returncode:
        said = (done.stderr or done.stdout)[-2_000:]
        raise EngineFailed(f"{' '.join(words)}: exit code {done.returncode}\n{said}")
    return done.stdout


def docker(*words: str, stdin: str = "", patience_s: float = PATIENCE_S) -> str:
    """Return what `docker WORDS` prints; raises as `run`."""
    return run("docker", *words, stdin=stdin, patience_s=patience_s)


def compose(*words: str, stdin: str = "", patience_s: float = PATIENCE_S) -> str:
    """Return what `docker compose WORDS` prints about the story's services; raises as `run`."""
    plain = ("--ansi", "never")
    return docker("compose", *plain, "-p", PROJECT, *words, stdin=stdin, patience_s=patience_s)


def build() -> None:
    """Make the nodes' image and the client's; raises as `run`.

    Where TIDELOG_BASE_IMAGE names one, it is their base.
    """
    base = environ.get("TIDELOG_BASE_IMAGE")
    told = () if base is None else ("--build-arg", f"BASE={base}")
    compose("build", *told, patience_s=BUILD_S)
    recipe = (ROOT / "tests/cluster/kcat.Dockerfile").read_text()
    docker("build", *told, "-t", KCAT, "-", stdin=recipe, patience_s=BUILD_S)


def tidelog_in(service: str, *words: str, stdin: str = "") -> str:
    """Return what `tidelog WORDS` prints inside a node's own container; raises as `run`."""
    return compose("exec", "-T", service, "tidelog", *words, stdin=stdin)


def tidelog_beside(address: str, *words: str, stdin: str = "") -> str:
    """Return what `tidelog WORDS` prints in a container of its own on the nodes' network.

    `address`: HOST:PORT of the node that it speaks with. Raises as `run`.
    """
    told = ("-e", f"TIDELOG_CLIENT__ADDRESS={address}")
    return docker("run", "--rm", "-i", "--network", NETWORK, *told, IMAGE, *words, stdin=stdin)


def kcat_beside(*words: str, stdin: str = "") -> str:
    """Return what `kcat WORDS` prints in a container on the nodes' network; raises as `run`."""
    return docker("run", "--rm", "-i", "--network", NETWORK, KCAT, *words, stdin=stdin)


def states() -> dict[str, str]:
    """Return, by service, how each container is: `healthy`, `unhealthy`, `exited`, and so on."""
    listed = compose("ps", "--all", "--format", "json")
    rows: Sequence[dict[str, Any]] = [json.loads(line) for line in listed.splitlines()]
    return {row["Service"]: row["Health"] or row["State"] for row in rows}


def container(service: str) -> str:
    """Return the id of a service's container."""
    return compose("ps", "--all", "--quiet", service).strip()


def last_words(service: str, lines: int = 20) -> str:
    """Return the end of what a node has logged."""
    return compose("logs", "--no-color", "--tail", str(lines), service)
