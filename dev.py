#!/usr/bin/env python3
"""Run or test Tidelog from a checkout, on a machine that has Python 3.11 or later and nothing else.

    python3 dev.py run [ARGS]     a node for development: tidelog dev ARGS; try --demo
    python3 dev.py test [ARGS]    the tests: pytest ARGS
    python3 dev.py check          linters, types, layers, tidy
    python3 dev.py setup          install everything, run nothing

The first time it makes .venv and installs the pinned, hashed packages of requirements/; a stamp
makes the next time instant. Uses `uv` if it is there; needs no compiler. The environment variable
TIDELOG_VENV names another folder than .venv. Nothing outside that folder is written.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

OLDEST = (3, 11)  # this file itself runs on 3.8, to say so
ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("TIDELOG_VENV") or ROOT / ".venv").absolute()
PYTHON = str(VENV / "bin" / "python")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
# command: the locks that must install after `build`, those of which a package may be missing
NEEDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "run": (("run",), ("speed",)),
    "test": (("run", "test"), ("speed", "clients")),
    "check": (("run", "test", "check"), ("speed", "clients")),
    "setup": (("run", "test", "check"), ("speed", "clients")),
}
ENTRY = re.compile(r"^[A-Za-z0-9][^\n]*\n(?:[ \t]+[^\n]*\n)*", re.MULTILINE)
USAGE, FAILED = 2, 1


def say(text: str) -> None:
    """Progress goes to stderr: stdout belongs to the command that follows."""
    print(text, file=sys.stderr, flush=True)


def fail(why: str, hint: str, code: int = FAILED) -> SystemExit:
    """Return the end of the program, after one error and what to do about it."""
    say(f"error: {why}\nhint: {hint}")
    return SystemExit(code)


def ran(*command: str) -> bool:
    """Run a program to its end; tell whether it succeeded."""
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0


def lock(name: str) -> Path:
    """Return the path of a lock."""
    return ROOT / "requirements" / f"{name}.txt"


def need_python() -> None:
    """Go on under Python 3.11 or later, another one than this if need be."""
    if sys.version_info >= OLDEST:
        return
    for minor in range(20, OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            os.execv(found, [found, *sys.argv])  # noqa: S606 - the same program again
    why = f"this is Python {HERE}, and no python3.11 or later is on the path"
    raise fail(why, "install one and run dev.py with it", USAGE)


def stamp(command: str) -> str:
    """Return what an environment is made from: other contents, another environment."""
    seen = hashlib.sha256(f"{sys.version} {ROOT} {VENV}".encode())
    for path in [ROOT / "pyproject.toml", *map(lock, ("build", *sum(NEEDS[command], ())))]:
        seen.update(path.read_bytes())
    return seen.hexdigest()


def make_venv(uv: str | None) -> None:
    """Make the environment, anew if it belongs to another Python or was made elsewhere."""
    made_for, this = VENV / "tidelog-python", f"{sys.version} {VENV}"
    if os.path.exists(PYTHON) and made_for.exists() and made_for.read_text() == this:
        return
    if VENV.exists() and any(VENV.iterdir()) and not (VENV / "pyvenv.cfg").exists():
        raise fail(f"{VENV} exists and is no Python environment", "move it away", USAGE)
    say(f"making {VENV} with Python {HERE}")
    if not (uv and ran(uv, "venv", "-q", "--clear", "-p", sys.executable, str(VENV))):
        if find_spec("ensurepip") is None or find_spec("venv") is None:
            why = f"Python {HERE} is here without ensurepip, so it cannot make an environment"
            raise fail(why, f"apt-get install -y python{HERE}-venv", USAGE)
        if not ran(sys.executable, "-m", "venv", "--clear", str(VENV)):
            raise fail("python -m venv failed, see above", "is the disk full or read-only?")
    made_for.write_text(this)


def installed(uv: str | None, *arguments: str) -> bool:
    """Install with uv, else with pip; tell whether it worked."""
    if uv and ran(uv, "pip", "install", "-q", "-p", PYTHON, *arguments):
        return True
    if uv:
        say("uv could not; trying pip, which may know another index or certificate")
        ran(PYTHON, "-m", "ensurepip")
    pip = (PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input")
    return ran(*pip, *arguments)


def install(command: str, uv: str | None) -> None:
    """Install what a command needs: by hash, without a compiler, and the tree itself in place."""
    must, may = NEEDS[command]
    # Only wheels, but for crcmod: it has none, and falls back to pure Python without a compiler.
    # What builds it and the tree comes by hash too, from build.txt; hence no isolation.
    built = ("--no-deps", "--no-build-isolation")
    wheels = ("--require-hashes", "--only-binary", ":all:")
    for names in (("build",), must):
        say(f"installing {', '.join(names)}")
        files = [word for name in names for word in ("-r", str(lock(name)))]
        if not installed(uv, *built, *wheels, "--no-binary", "crcmod", *files):
            hint = "are you online? packages come from the index that pip is configured for"
            raise fail("the packages of requirements/ could not be installed, see above", hint)
    for name in may:
        say(f"installing {name}")
        if not installed(uv, *built, *wheels, "-r", str(lock(name))):
            install_singly(name, uv, *built, *wheels)
    if not installed(uv, *built, "-e", str(ROOT)):
        raise fail("the checkout itself could not be installed, see above", "see pyproject.toml")


def install_singly(name: str, uv: str | None, *options: str) -> None:
    """Install those packages of a lock that have a wheel for this machine."""
    for entry in ENTRY.findall(lock(name).read_text()):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as one:
            one.write(entry)
            one.flush()
            if not installed(uv, *options, "-r", one.name):
                say(f"going on without {entry.split()[0]} ({name}), for which see above")


def demo_data() -> Path:
    """Return the archive with the demo's data, fetched once and checked each time."""
    (entry,) = ENTRY.findall(lock("demo").read_text())
    name, version = entry.split()[0].split("==")
    archive = VENV / "demo" / f"{name}-{version}.tar.gz"
    if not archive.exists():
        say(f"fetching the demo's data, {name} {version}")
        pip = (PYTHON, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-input")
        # A package, as far as pip knows: it asks for its name, installs nothing, needs nothing.
        alone = ("--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--require-hashes")
        if not ran(*pip, *alone, "-r", str(lock("demo")), "-d", str(archive.parent)):
            raise fail("the demo's data could not be fetched, see above", "are you online?")
    if f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}" not in entry:
        archive.unlink()
        raise fail(f"{archive} was damaged and is deleted", "run this again to fetch it anew")
    return archive


def main() -> None:
    """Prepare the environment, then become the command."""
    need_python()
    command, *arguments = sys.argv[1:] or [""]
    if command not in NEEDS:
        asked = command in {"-h", "--help", "help"}
        print((__doc__ or "").strip(), file=sys.stdout if asked else sys.stderr)
        raise SystemExit(0 if asked else USAGE)
    stamped, wanted = VENV / f"tidelog-{command}", stamp(command)
    if not (stamped.exists() and stamped.read_text() == wanted):
        uv = shutil.which("uv")
        make_venv(uv)
        install(command, uv)
        stamped.write_text(wanted)
    if command == "run":
        if "--demo" in arguments:
            os.environ["TIDELOG_DEMO_DATA"] = str(demo_data())
        os.execv(PYTHON, [PYTHON, "-m", "tidelog", "dev", *arguments])  # noqa: S606
    os.chdir(ROOT)
    if command == "test":
        os.execv(PYTHON, [PYTHON, "-m", "pytest", *arguments])  # noqa: S606
    if command == "check":
        os.execv(PYTHON, [PYTHON, "-m", "tools.check", *arguments])  # noqa: S606


if __name__ == "__main__":
    main()
