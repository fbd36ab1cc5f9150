"""One process that feeds one target: `python -m tests.fuzz.child` is called by tests.fuzz.run.

Its memory is limited, so a blow-up is a MemoryError or an abort of this process and of no other.
Every finding is a JSON line on standard output; what it read last is in the trace.
"""

import json
import resource
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

from tests.fuzz.mutation import Mutator
from tests.fuzz.trace import Progress, Trace

GROWTH_BYTES_MAX: Final = 256 << 20
"""Address space above what the process had when its samples were made."""
SLOW_NS: Final = 50_000_000
"""CPU time that no input of at most 256 KiB may take."""
AGAIN: Final = 3
"""A slow input is read again: the least time counts, so another process cannot make it slow."""
LATE_FACTOR: Final = 6
"""A target that has not done its least number of inputs may take so many times its share."""


def main(arguments: list[str]) -> int:
    """Feed a target until its time is over and it has read its least number of inputs."""
    name, seed, seconds, least, trace_path = arguments
    module = import_module(f"tests.fuzz.{name}")
    target: Callable[[bytes], None] = module.fuzz
    samples: list[bytes] = module.samples()
    trace = Trace(Path(trace_path))
    feed = Feed(name, target, trace)
    feed.slow_ns = SLOW_NS * getattr(module, "READS", 1)
    for sample in samples:
        feed.give(sample)
    feed.limit_memory()
    mutator = Mutator(samples, int(seed))
    begun = time.monotonic()
    soft, hard = begun + float(seconds), begun + LATE_FACTOR * float(seconds)
    while (now := time.monotonic()) < soft or (feed.executions < int(least) and now < hard):
        for _ in range(64):
            feed.give(mutator.next())
    feed.close()
    return 0


class Feed:
    """Counts, times, and what was found."""

    def __init__(self, name: str, target: Callable[[bytes], None], trace: Trace) -> None:
        """Begin; continue the counts that a process before this one has left."""
        self._name = name
        self._target = target
        self._trace = trace
        self.slow_ns = SLOW_NS
        self.executions, self._slowest_ns, self._growth, _ = trace.progress
        self._resident = _resident_bytes()
        self._known: set[str] = set()

    def limit_memory(self) -> None:
        """From here on the process may grow by a bounded size."""
        self._resident = _resident_bytes()
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + GROWTH_BYTES_MAX
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def give(self, data: bytes) -> None:
        """Let the target read one input."""
        progress = Progress(self.executions, self._slowest_ns, self._growth, len(data))
        self._trace.begin(data, progress)
        took = self._timed(data)
        if took > self.slow_ns:
            took = min(took, *(self._timed(data) for _ in range(AGAIN)))
            if took > self.slow_ns:
                self._found(f"slow: {took // 1_000_000} ms", data, key="slow")
        self._slowest_ns = max(self._slowest_ns, took)
        self.executions += 1
        if self.executions % 256 == 0:
            self._growth = max(self._growth, _resident_bytes() - self._resident)

    def close(self) -> None:
        """Leave the last numbers."""
        self._growth = max(self._growth, _resident_bytes() - self._resident)
        self._trace.begin(b"", Progress(self.executions, self._slowest_ns, self._growth, 0))

    def _timed(self, data: bytes) -> int:
        begun = time.process_time_ns()
        try:
            self._target(data)
        except Exception as escaped:  # noqa: BLE001 - whatever escapes is what is looked for
            frames = traceback.extract_tb(escaped.__traceback__)[-4:]
            where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
            kind = type(escaped).__name__
            self._found(f"{kind}: {str(escaped)[:200]} at {where}", data, key=f"{kind} {where}")
        return time.process_time_ns() - begun

    def _found(self, what: str, data: bytes, *, key: str) -> None:
        """Tell each kind of finding once."""
        if key not in self._known:
            self._known.add(key)
            line = json.dumps({"target": self._name, "what": what, "input": data.hex()})
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


def _resident_bytes() -> int:
    """Return the greatest resident size that this process ever had (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
