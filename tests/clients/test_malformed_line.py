"""A line that the Python client cannot send ends it with one line of its own, and no traceback."""

import os
import subprocess
import sys

import pytest

from tests.clients.languages import CLIENTS

PARSED = "import sys; from produce import parsed; print(parsed(sys.argv[1])[0])"


def parsed(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PARSED, line],
        env=os.environ | {"PYTHONPATH": str(CLIENTS / "python"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        *("", "0 1 key value", "0\t1\tkey", "0\t1\tkey\tvalue\tmore", "x\t1\tkey\tvalue"),
        *("0\tx\tkey\tvalue", f"{1 << 31}\t1\tkey\tvalue", f"0\t{1 << 63}\tkey\tvalue"),
    ],
)
def test_it_is_named_and_the_program_fails(line: str) -> None:
    done = parsed(line)
    assert done.stderr == f"not PARTITION TIME_MS KEY VALUE: {line!r}\n"
    assert (done.returncode, done.stdout) == (2, "")


def test_a_good_one_is_taken() -> None:
    assert parsed("2\t1767225600000\tkey\tvalue").stdout == "2\n"
