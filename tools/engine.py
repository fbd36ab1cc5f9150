"""Run a command beside a container engine: `python3 -m tools.engine COMMAND...`.

An engine that `docker` reaches as it is, with compose, is used and left alone. Otherwise, on Debian
as root, one is installed from the machine's package mirror and started for the time of the command:
its socket lies in a temporary folder, what it stores in `$XDG_CACHE_HOME/tidelog/engine`, so that
the next run finds the images. Where there can be none, that is said, and the command is run all the
same: it must tell by itself what it has left out. Whoever ends this (SIGTERM) ends the command
first, and then the engine.

The images' base is made of that mirror's packages, and trusts whom this machine trusts; unless
TIDELOG_BASE_IMAGE names one that the engine can pull.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Final

RELEASE: Final = "trixie"
BASE: Final = f"debian:{RELEASE}-slim"
PACKAGES: Final = {"dockerd": "docker.io", "iptables": "iptables", "debootstrap": "debootstrap"}
"""What is installed where the command is missing."""
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
PLUGIN: Final = "usr/libexec/docker/cli-plugins/docker-compose"
ASK_S: Final = 20.0
PULL_S: Final = 60.0
LOOKS: Final = 300
"""How often it is looked whether a new engine answers yet."""
STOP_S: Final = 60.0
"""An engine's: it stops its containers first, each of which may take its own time (30 s)."""
GRACE_S: Final = 10.0
"""The command's, once it has been told to end."""
LOOK_S: Final = 0.2
ENDS_WITH_US: Final = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()
"""Begins a command that is told to stop when this process is there no more, however it ended."""
IN_BASE: Final = (
    "update-ca-certificates",
    "apt-get update -qq",
    "cd /tmp && apt-get download -qq docker-compose",
)
"""Done in the root file system that becomes the base: compose 2 is of the same release."""


class NoEngine(Exception):  # noqa: N818 - says what happened
    """There is none, and none can be had; the text says why."""


def reached(environment: Mapping[str, str]) -> bool:
    """Tell whether `docker` reaches an engine, and has compose."""
    if shutil.which("docker", path=environment.get("PATH")) is None:
        return False
    asked = (["docker", "version"], ["docker", "compose", "version"])
    return all(_ended_well(words, environment) for words in asked)


def _ended_well(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, timeout=ASK_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def run(*words: str, environment: Mapping[str, str] | None = None, within_s: float = 300.0) -> str:
    """Return what a command prints.

    Raises:
        NoEngine: it failed, with the end of what it said.
    """
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=within_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise NoEngine(f"{' '.join(words[:3])}: {failed}") from failed
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise NoEngine(f"{' '.join(words[:3])}: exit code {done.returncode}: {said}")
    return done.stdout


def install() -> None:
    """Install what is missing; raises as `run`."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoEngine("none answers, and only root on Debian can install one here")
    missing = [package for name, package in PACKAGES.items() if shutil.which(name) is None]
    if missing:
        run("apt-get", "update", "-qq")
        _install(*missing)
    if shutil.which("docker") is None:
        _install("docker-cli")  # which has been a package of its own since trixie


def _install(*packages: str) -> None:
    options = ("-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "install", *options, *packages, environment=quiet)


def make_base(folder: Path) -> None:
    """Make `folder/base.tar`, a root file system, and `folder/config` with the plugin compose."""
    if (folder / "base.tar").exists():
        return
    mirror = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
    with tempfile.TemporaryDirectory(prefix="tidelog-base-") as made:
        root = Path(made) / "root"
        kept = ("--variant=minbase", "--include=ca-certificates")
        run("debootstrap", *kept, RELEASE, str(root), mirror.split()[0], within_s=600.0)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        if CERTIFICATES.exists():
            shutil.copy(CERTIFICATES, root / "usr/local/share/ca-certificates/machine.crt")
        for words in IN_BASE:
            run("chroot", str(root), "sh", "-c", words)
        (package,) = (root / "tmp").glob("docker-compose_*.deb")
        run("dpkg", "-x", str(package), f"{made}/compose")
        package.unlink()
        plugins = folder / "config/cli-plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(made) / "compose" / PLUGIN, plugins)
        for waste in (root / "var/lib/apt/lists", root / "var/cache/apt"):
            shutil.rmtree(waste)
            waste.mkdir()
        run("tar", "-C", str(root), "-cf", f"{made}/base.tar", ".")
        shutil.move(f"{made}/base.tar", folder / "base.tar")


@contextmanager
def started(folder: Path) -> Iterator[dict[str, str]]:
    """Start an engine that stores what it has in a folder; yield the environment that finds it."""
    with tempfile.TemporaryDirectory(prefix="tidelog-engine-") as passing:
        at = f"unix://{passing}/docker.sock"
        where = ("-H", at, "--pidfile", f"{passing}/pid", "--exec-root", f"{passing}/exec")
        words = ("dockerd", *where, "--data-root", str(folder / "data"), "--ip", "127.0.0.1")
        environment = {**os.environ, "DOCKER_HOST": at, "DOCKER_CONFIG": str(folder / "config")}
        with (folder / "dockerd.log").open("wb") as log:
            engine = subprocess.Popen(
                [*ENDS_WITH_US, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            _await(engine, environment, folder / "dockerd.log")
            yield environment
        finally:
            engine.terminate()
            _gone(engine, STOP_S)


def _gone(process: "subprocess.Popen[bytes]", within_s: float) -> None:
    """Return once a process has ended that was told to; by force if it takes longer."""
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(engine: "subprocess.Popen[bytes]", environment: Mapping[str, str], log: Path) -> None:
    for _ in range(LOOKS):
        if _ended_well(["docker", "version"], environment):
            return
        if engine.poll() is not None:
            break
        Event().wait(LOOK_S)
    said = log.read_text(errors="replace").splitlines()[-3:]
    raise NoEngine(f"dockerd does not start: {' '.join(said)}")


def provide_base(folder: Path, environment: Mapping[str, str]) -> None:
    """See that the engine has the base image; raises as `run`."""
    image = os.environ.get("TIDELOG_BASE_IMAGE")
    if _ended_well(["docker", "image", "inspect", image or BASE], environment):
        return
    if image is not None:
        run("docker", "pull", "-q", image, environment=environment, within_s=PULL_S)
    else:
        run("docker", "import", str(folder / "base.tar"), BASE, environment=environment)


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """Yield the environment in which `docker` reaches an engine, for as long as this context.

    Raises:
        NoEngine: there is none, and none can be had.
    """
    if reached(os.environ):
        yield dict(os.environ)
        return
    install()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "tidelog" / "engine"
    folder.mkdir(parents=True, exist_ok=True)
    make_base(folder)
    with started(folder) as environment:
        provide_base(folder, environment)
        yield environment


def _ended(*_: object) -> None:
    """Leave every block in order, once: whoever asks again waits for that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def _to_its_end(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command; return its exit code. Where this is ended, so is the command, before it."""
    child = subprocess.Popen([*ENDS_WITH_US, *words], env=environment)
    try:
        return child.wait()
    except SystemExit:
        child.terminate()
        raise
    finally:  # at Ctrl-C the terminal has told it
        _gone(child, GRACE_S)


def main(words: Sequence[str]) -> int:
    """Run a command; return its exit code."""
    if not words:
        sys.stderr.write(f"{__doc__}")
        return 2
    signal.signal(signal.SIGTERM, _ended)
    try:
        with engine() as environment:
            return _to_its_end(words, environment)
    except NoEngine as why:
        sys.stderr.write(f"no container engine: {why}; going on without\n")
    return _to_its_end(words, os.environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
