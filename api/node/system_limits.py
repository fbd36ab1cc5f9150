"""What the machine grants this process: memory, descriptors, and since when it runs."""

import os
import resource
import time
from pathlib import Path
from typing import Final

from model.limits import CONNECTIONS_MAX

CGROUP_MEMORY: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_START_FIELD: Final = (
    19  # of /proc/self/stat behind the name, which ends with ")": proc(5), field 22
)


def memory_limit_bytes() -> int:
    """Return the memory that the process may use: the container's limit or the machine's size."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in CGROUP_MEMORY:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            return min(machine, int(text))
    return machine


def descriptors_max() -> int:
    """Raise the limit of open files as far as this user may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


def open_files_max(wanted: int) -> int:
    """Return how many segment files may be open for writing, and as many for reading.

    The other half of the descriptors is left to connections.
    """
    return max(1, min(wanted, descriptors_max() // 4))


def grpc_connections_max(descriptors: int) -> int:
    """Return how many connections gRPC may take of so many descriptors.

    It accepts by itself, up to the last one. Kafka clients are refused at 90 %: what is left behind
    that has to do for these and for a node that must open a file, or say why it ends (P59).
    """
    return max(1, min(CONNECTIONS_MAX.value, descriptors // 16))


def process_age_ms() -> int:
    """Return how long ago this process was started, to 10 ms (Linux)."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    started_s = int(fields[_START_FIELD]) / os.sysconf("SC_CLK_TCK")
    return int((time.clock_gettime(time.CLOCK_BOOTTIME) - started_s) * 1000)
