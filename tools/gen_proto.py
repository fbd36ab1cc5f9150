"""Generate `tidelog/v1` from `proto/tidelog/v1`: messages, gRPC stubs and their types.

`python -m tools.gen_proto` writes; with `--check` it compares and fails when a file is stale. The
same tools give the same bytes: no time, path or version of ours goes into the output.
"""

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc  # type: ignore[import-untyped]

ROOT: Final = Path(__file__).parent.parent
PROTO: Final = ROOT / "proto"
PACKAGE: Final = "tidelog/v1"
PLUGINS: Final = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
INIT: Final = '"""The public API `tidelog.v1` as generated code; its text is proto/tidelog/v1."""\n'

# Our own checks are stricter than `--strict` in this one point, which the generator does not meet.
TYPING: Final = '# mypy: disable-error-code="mutable-override"\n'


def sources() -> list[str]:
    """Return the proto files, named as they import each other."""
    return sorted(path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto"))


def run(arguments: Sequence[str]) -> None:
    """Run protoc over every proto file.

    Raises:
        RuntimeError: it refused; what it said is on stderr.
    """
    with as_file(files("grpc_tools") / "_proto") as well_known:
        command = ["protoc", f"-I{PROTO}", f"-I{well_known}", *arguments, *sources()]
        if protoc.main(command) != 0:
            raise RuntimeError("protoc refused the files in proto/; see above")


def plugin(name: str) -> str:
    """Return protoc's flag for a plugin that is installed beside this Python.

    Raises:
        RuntimeError: it is not installed.
    """
    beside = Path(sys.executable).parent / name
    path = str(beside) if beside.exists() else shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is missing: install mypy-protobuf")
    return f"--plugin={name}={path}"


def generate(out: Path) -> None:
    """Write everything below a folder."""
    run(
        [
            *(plugin(name) for name in PLUGINS),
            *(f"--{kind}_out={out}" for kind in ("python", "grpc_python")),
            *(f"--{kind}_out=quiet:{out}" for kind in ("mypy", "mypy_grpc")),
        ]
    )
    for path in (out / PACKAGE).glob("common_pb2_grpc.*"):
        path.unlink()  # it has no service
    for path in (out / PACKAGE).glob("*.pyi"):
        path.write_text(TYPING + path.read_text())
    (out / PACKAGE / "__init__.py").write_text(INIT)


def descriptor_set() -> FileDescriptorSet:
    """Return the files' descriptors, comments included, imports left out."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tidelog.binpb"
        run([f"--descriptor_set_out={path}", "--include_source_info"])
        return FileDescriptorSet.FromString(path.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    """Return name to bytes of the generated files in a folder."""
    if not folder.exists():
        return {}
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def stale(committed: Mapping[str, bytes], fresh: Mapping[str, bytes]) -> list[str]:
    """Return the names that differ, are missing, or have no proto file any more."""
    names = committed.keys() | fresh.keys()
    return sorted(name for name in names if committed.get(name) != fresh.get(name))


def main(arguments: Sequence[str]) -> int:
    """Write or check; fail if a file was stale in a check."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m tools.gen_proto [--check]\n")
        return 2
    target = ROOT / PACKAGE
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = contents(Path(folder) / PACKAGE)
    findings = stale(contents(target), fresh)
    if arguments:
        for name in findings:
            sys.stdout.write(f"{PACKAGE}/{name}: is stale; run: make proto\n")
        return 1 if findings else 0
    target.mkdir(parents=True, exist_ok=True)
    for name in findings:
        if name in fresh:
            (target / name).write_bytes(fresh[name])
        else:
            (target / name).unlink()
    sys.stdout.write(f"{PACKAGE}: {len(fresh)} files, {len(findings)} changed\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
