"""The languages: what each program needs, how it is built from a copy of its source, and started.

A build has a folder of its own under the user's cache, named by a digest of everything that it is
made from, made aside, and moved into its place when it is whole.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.kill.node_process import ROOT

CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidelog" / "clients"
)
CARGO: Final = CACHE / "cargo"
"""Where crates stay compiled from one build to the next."""
CLIENTS: Final = ROOT / "clients"
PROTO: Final = ROOT / "proto"
MADE: Final = {"node_modules", "target", "generated", "__pycache__"}
"""What building by hand leaves beside a source."""
TAIL_CHARACTERS: Final = 3_000
PROTOC: Final = (sys.executable, "-m", "grpc_tools.protoc")


class MissingError(Exception):
    """A program is not installed, or a source does not build."""


class Built(NamedTuple):
    """A program, ready to be started."""

    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Language:
    """How one program comes about. In its folder, `../../proto` is where the proto files are."""

    needs: Mapping[str, str]
    """Command, and Debian's package of it."""
    build: Callable[[Path], Sequence[Sequence[str]]]
    """The commands that build it, to be run in its folder."""
    command: Callable[[Path], Sequence[str]]
    """How it is started."""
    environment: Callable[[Path], Mapping[str, str]] = field(default=lambda _: {})
    """Added to ours while it is built, and when it runs."""


def built(name: str, source: Path | None = None) -> Built:
    """Return the program of a language, built now or before; `source` instead of clients/NAME.

    Raises:
        MissingError: it cannot be built here.
    """
    language = LANGUAGES[name]
    for program, package in language.needs.items():
        if shutil.which(program) is None:
            raise MissingError(f"{name}: {program} is not installed; Debian's package is {package}")
    folder = _folder(name, source or CLIENTS / name)
    home = folder / "clients" / name
    return Built(language.command(home), language.environment(home))


def _folder(name: str, source: Path) -> Path:
    """Return the folder in which the program is, built."""
    files = sorted(path for path in source.rglob("*") if _is_source(path, source))
    protos = sorted(PROTO.rglob("*.proto"))
    digest = sha256(sys.version.encode())
    for root, paths in ((source, files), (PROTO, protos)):
        for path in paths:
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    folder = CACHE / f"{name}-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as aside:
            half = Path(aside) / "half"
            _copy(source, files, half / "clients" / name)
            _copy(PROTO, protos, half / "proto")
            _build(LANGUAGES[name], half / "clients" / name)
            half.rename(folder)
    return folder


def _is_source(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return path.is_file() and not any(part in MADE or part.startswith(".") for part in parts)


def _copy(root: Path, files: Sequence[Path], to: Path) -> None:
    for path in files:
        copy = to / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)


def _build(language: Language, home: Path) -> None:
    environment = {**os.environ, **language.environment(home)}
    for command in language.build(home):
        run = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, check=False
        )
        if run.returncode:
            said = (run.stdout + run.stderr).strip()[-TAIL_CHARACTERS:]
            raise MissingError(f"{' '.join(command)} ended with {run.returncode}: {said}")


def _build_python(home: Path) -> Sequence[Sequence[str]]:
    """Generate the stubs; what else it needs, whoever runs this has."""
    made = home / "generated"
    # A package, not a mere folder: else a tidelog that is installed would hide it.
    (made / "tidelog").mkdir(parents=True)
    (made / "tidelog" / "__init__.py").touch()
    protos = [f"tidelog/v1/{path.name}" for path in sorted(PROTO.rglob("*.proto"))]
    outputs = [f"--python_out={made}", f"--grpc_python_out={made}"]
    return [[*PROTOC, "-I../../proto", *outputs, *protos]]


def _with_protoc(home: Path) -> Mapping[str, str]:
    """Return a PATH on which there is a protoc: the one of grpcio-tools where there is none."""
    if shutil.which("protoc"):
        return {}
    bin_ = home / "generated" / "protoc"
    bin_.mkdir(parents=True, exist_ok=True)
    script = bin_ / "protoc"
    script.write_text(f'#!/bin/sh\nexec {" ".join(map(shlex.quote, PROTOC))} "$@"\n')
    script.chmod(0o755)
    return {"PATH": f"{bin_}:{os.environ['PATH']}"}


def _java(home: Path) -> Sequence[str]:
    made = home / "target"
    return ["java", "-cp", f"{made / 'classes'}:{made / 'lib'}/*", "client.Main"]


def _rust(home: Path) -> str:
    return str(home / "target" / "client")


LANGUAGES: Final[Mapping[str, Language]] = {
    "python": Language(
        needs={},
        build=_build_python,
        command=lambda home: [sys.executable, str(home / "main.py")],
        environment=lambda home: {"PYTHONPATH": str(home / "generated")},
    ),
    "node": Language(
        needs={"node": "nodejs", "npm": "npm"},
        build=lambda _: [["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]],
        command=lambda home: ["node", str(home / "main.js")],
    ),
    "go": Language(
        needs={"go": "golang-go"},
        build=lambda _: [["sh", "generate.sh"], ["go", "build", "-o", "generated/client", "."]],
        command=lambda home: [str(home / "generated" / "client")],
        environment=_with_protoc,
    ),
    "java": Language(
        needs={
            "java": "default-jdk-headless",
            "javac": "default-jdk-headless",
            "mvn": "maven",
        },
        build=lambda _: [["mvn", "-q", "-B", "--strict-checksums", "package"]],
        command=_java,
    ),
    "rust": Language(
        needs={"cargo": "cargo"},
        build=lambda home: [
            ["cargo", "build", "--locked", "--quiet"],
            ["install", "-D", str(CARGO / "debug" / "tidelog-client-example"), _rust(home)],
        ],
        command=lambda home: [_rust(home)],
        environment=lambda _: {"CARGO_TARGET_DIR": str(CARGO)},
    ),
}
