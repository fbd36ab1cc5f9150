"""How the bench reads what a run has cost a server."""

import os
import time

import pytest

from bench.server import cpu_s


def test_cpu_time_is_read_to_less_than_a_tick() -> None:
    for _ in range(20):
        before = time.process_time()
        seen = cpu_s(os.getpid())
        assert before <= seen <= time.process_time()


def test_cpu_time_of_a_process_that_is_gone_is_an_error() -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    with pytest.raises(OSError, match="Invalid argument"):
        cpu_s(child)
