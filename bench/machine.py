"""What the measurements need of this machine, and where they keep it: never in the tree."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidelog" / "bench"
)
CLIENT: Final = Path(__file__).resolve().parent / "client"
_LENT: Final = bytes(1 << 20)


class Missing(Exception):  # noqa: N818 - a reason, told in the row that is left out
    """Something that a row needs is not here."""


def compiled(name: str, *libraries: str) -> Path:
    """Return a client of `bench/client`, compiled if its source is newer.

    Raises:
        Missing: no compiler, or no librdkafka-dev; what it said.
    """
    source, program = CLIENT / f"{name}.c", CACHE / name
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    CACHE.mkdir(parents=True, exist_ok=True)
    command = ["cc", "-O2", "-Wall", "-o", str(program), str(source)]
    command += [f"-l{library}" for library in libraries]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Missing("no C compiler (cc)") from error
    if done.returncode:
        raise Missing(f"{source.name} does not compile: {done.stderr.strip()[-300:]}")
    return program


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """Return a directory for data on the disk that is measured: `$BENCH_DIR`, or /var/tmp."""
    return tempfile.TemporaryDirectory(
        prefix="tidelog-bench-",
        dir=os.environ.get("BENCH_DIR", "/var/tmp"),  # noqa: S108
    )


def lend_memory(size_bytes: int) -> None:
    """Have the machine's host give back as much memory as a run is about to need.

    Where that is a virtual machine, its host takes the pages that lie free for some seconds, and
    the first write to each then costs 1.8 ms/MB instead of 0.2. Whoever writes first would pay for
    that, Tidelog or a peer: so a file is written and removed before each run, by us.
    """
    with scratch() as folder, Path(folder, "lent").open("wb", buffering=0) as file:
        for _ in range(-(-size_bytes // len(_LENT))):
            file.write(_LENT)


def load_average() -> float:
    """Return how many threads wanted a core during the last minute."""
    return os.getloadavg()[0]
