"""No store I/O goes round the Disk port: what the kernel saw is what the port was asked.

The crash enumeration proves things about recorded port calls; a write that another path made
would be outside of the proof.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.witnessed_disk import Change

CALLS = {
    "write": "write", "writev": "write", "pwrite64": "write", "pwritev": "write",
    "pwritev2": "write", "fsync": "sync", "fdatasync": "sync", "ftruncate": "truncate",
    "truncate": "truncate", "rename": "rename", "renameat": "rename", "renameat2": "rename",
    "unlink": "remove", "rmdir": "remove", "unlinkat": "remove", "mkdir": "make_directory",
    "mkdirat": "make_directory", "sync_file_range": "begin",
}  # fmt: skip
NEVER = {"mmap", "msync", "copy_file_range", "sendfile", "fallocate", "splice"}
LINE = re.compile(r"^(?:\d+\s+)?(\w+)\((.*)\)\s+= (-?\d+)")


def kernel_changes(log: str, root: str) -> Iterator[Change]:
    """Yield each successful change below a directory, as strace wrote it."""
    for line in log.splitlines():
        found = LINE.match(line)
        if found is None or root not in line or int(found[3]) < 0:
            continue
        call, arguments, result = found[1], found[2], int(found[3])
        paths = re.findall(rf'{re.escape(root)}(?:/([^">]*))?[">]', arguments)
        assert call not in NEVER, line
        name = paths[-1] if call.startswith("rename") else paths[0]
        if call not in CALLS or name == "lock":
            continue
        numbers = re.findall(r", (\d+)(?=,|$)", arguments)
        match CALLS[call]:
            case "write":
                position = numbers[-2 if call == "pwritev2" else -1]  # behind it: flags
                yield Change("write", name, result, int(position))
            case "truncate":
                yield Change("truncate", name, int(numbers[-1]))
            case "begin":  # with any other flag it would wait, and take errors that are for a sync
                assert arguments.endswith(", SYNC_FILE_RANGE_WRITE"), line
                yield Change("begin", name, int(numbers[-1]), int(numbers[-2]))
            case what:
                yield Change(what, name)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_kernel_sees_what_the_port_was_asked(tmp_path: Path) -> None:
    root, log = tmp_path / "log directory", tmp_path / "strace"
    root.mkdir()
    traced = ",".join(sorted({*CALLS, *NEVER}))
    tracer = ["strace", "-f", "-y", "-s", "0", "-o", str(log), "-e", f"trace={traced}"]
    run = subprocess.run(
        [*tracer, sys.executable, "-m", "tests.crash.witnessed_disk", str(root)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    asked = [
        Change(what, name, int(size), int(at))
        for what, name, size, at in (line.split("\t") for line in run.stdout.splitlines())
    ]
    seen = list(kernel_changes(log.read_text(), str(root)))
    assert len(asked) > 100
    assert {change.what for change in asked} == set(CALLS.values())
    assert seen == asked
