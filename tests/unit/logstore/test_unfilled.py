"""Memory that is handed out as it is, for a read to fill."""

from pathlib import Path

import pytest

from logstore.unfilled import FILLED_BYTES, unfilled, unfilled_by

FRESH_BYTES = 64 << 20
"""The C library takes so much from the kernel anew, whatever it keeps: in RAM once touched."""


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("proc(5) has VmRSS")


@pytest.mark.parametrize("size_bytes", [0, 1, FILLED_BYTES, FILLED_BYTES + 1, 1 << 20])
def test_it_is_so_large_and_can_be_written(size_bytes: int) -> None:
    memory = unfilled(size_bytes)
    memory[:] = b"x" * size_bytes
    assert memory == b"x" * size_bytes


def test_nobody_writes_it_before_the_read() -> None:
    before = _resident_bytes()
    memory = unfilled(FRESH_BYTES)
    assert _resident_bytes() - before < len(memory) // 4


def test_no_two_share_it() -> None:
    one, other = unfilled(1 << 20), unfilled(1 << 20)
    one[:], other[:] = b"1" * len(one), b"2" * len(other)
    assert one.count(b"1") == other.count(b"2") == 1 << 20


def test_a_python_without_a_c_interface_fills_it() -> None:
    memory = unfilled_by(None)(1 << 20)
    assert memory == bytearray(1 << 20)
