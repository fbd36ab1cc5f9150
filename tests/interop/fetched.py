"""What the clients need besides Python's own packages: each fetched once, under the user's cache.

A folder is named by a digest of what it is made from, made aside, and moved into its place when it
is whole. Checksums: pip's and npm's stand in the tree, Maven compares with its repository's.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

HERE: Final = Path(__file__).parent
REQUIREMENTS: Final = HERE / "requirements.txt"
JAVA: Final = HERE / "java"
KAFKAJS: Final = HERE / "kafkajs"
TAIL_CHARACTERS: Final = 1_000


class MissingError(Exception):
    """A program is not installed, or something cannot be fetched."""


@cache
def python_packages() -> Path:
    """Return the folder of Python packages that clients want for their codecs."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes"]
        _run([*command, "--no-deps", "--target", str(folder), "-r", str(REQUIREMENTS)])

    return _made("python", [REQUIREMENTS.read_bytes(), sys.version.encode()], make)


@cache
def java_classes() -> str:
    """Return the class path of Apache's client and tools, with our program that uses them."""
    _need("java", "default-jdk-headless")
    pom, source = JAVA / "pom.xml", JAVA / "JavaClient.java"

    def make(folder: Path) -> None:
        _need("mvn", "maven")
        _need("javac", "default-jdk-headless")
        command = ["mvn", "-q", "-B", "--strict-checksums", "-f", str(pom)]
        command += ["dependency:copy-dependencies", "-DincludeScope=runtime"]
        _run([*command, f"-DoutputDirectory={folder / 'jars'}"])
        _run(["javac", "-cp", f"{folder / 'jars'}/*", "-d", str(folder), str(source)])

    folder = _made("java", [pom.read_bytes(), source.read_bytes()], make)
    return f"{folder}:{folder / 'jars'}/*"


@cache
def node_modules() -> Path:
    """Return the folder in which Node finds kafkajs and its codecs."""
    _need("node", "nodejs")
    wanted = [KAFKAJS / name for name in ("package.json", "package-lock.json")]

    def make(folder: Path) -> None:
        _need("npm", "npm")
        folder.mkdir()
        for file in wanted:
            shutil.copy(file, folder)
        command = ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
        _run([*command, "--prefix", str(folder)])

    return _made("kafkajs", [file.read_bytes() for file in wanted], make) / "node_modules"


def _made(name: str, sources: Sequence[bytes], make: Callable[[Path], None]) -> Path:
    """Return the folder that `make` has made of these sources, now or before."""
    caches = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = sha256(b"\0".join(sources)).hexdigest()[:16]
    folder = caches / "tidelog" / "interop" / f"{name}-{digest}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as aside:
            half = Path(aside) / "half"
            make(half)
            half.rename(folder)
    return folder


def _need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise MissingError(f"{program} is not installed; Debian's package is {package}")


def _run(command: Sequence[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        said = (run.stdout + run.stderr).strip()[-TAIL_CHARACTERS:]
        raise MissingError(f"{command[0]} ended with {run.returncode}: {said}")
