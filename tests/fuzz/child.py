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
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

from tests.fuzz.mutation import Mutator
from tests.fuzz.paths import Paths
from tests.fuzz.trace import Progress, Trace

GROWTH_BYTES_MAX: Final = 256 << 20
"""Address space above what the process had when its samples were made."""
BASE_NS: Final = 10_000_000
"""CPU time that any input may take, however short."""
BYTE_NS: Final = 500
"""And for each byte that it has or expands to, each time that it is read: three times what our
slowest loop takes for the bytes of a record of seven, the shortest there is."""
AGAIN: Final = 3
"""A slow input is read again: the least time counts, so another process cannot make it slow."""
FOLLOWED: Final = 32
"""One input of so many is followed through the code, to see whether it takes a new way."""


def main(arguments: list[str]) -> int:
    """Feed a target until its time is over and it has read its least number of inputs."""
    name, seed, seconds, latest, least, trace_path = arguments
    module = import_module(f"tests.fuzz.{name}")
    samples: list[bytes] = module.samples()
    large: list[bytes] = module.large_samples() if hasattr(module, "large_samples") else []
    mutator = Mutator(samples, int(seed), large=large)
    feed = Feed(module, trace=Trace(Path(trace_path)), mutator=mutator)
    for sample in (*samples, *large):
        feed.follow(sample)
        feed.give(sample)
    feed.limit_memory()
    soft, hard = time.monotonic() + float(seconds), time.process_time() + float(latest)
    while time.monotonic() < soft or (
        feed.executions < int(least) and time.process_time() < hard  # a busy machine delays it only
    ):
        feed.give_some()
    feed.close()
    return 0


class Bound:
    """The CPU time that an input may take: a function of its bytes, and of what it expands to."""

    def __init__(self, module: ModuleType) -> None:
        """Take what a target says of itself: BASE_NS, READS, `expanded_bytes(data)`."""
        self._base_ns: int = getattr(module, "BASE_NS", BASE_NS)
        self._reads: int = getattr(module, "READS", 1)
        self._expanded_bytes: Callable[[bytes], int] = getattr(
            module, "expanded_bytes", lambda data: 0
        )

    def passes(self, data: bytes, took_ns: int) -> bool:
        """Tell whether an input took no more than it may."""
        limit = self._base_ns + self._reads * BYTE_NS * len(data)
        return took_ns <= limit or took_ns <= limit + self._reads * BYTE_NS * self._expanded_bytes(
            data
        )


class Feed:
    """Counts, times, and what was found."""

    def __init__(self, module: ModuleType, *, trace: Trace, mutator: Mutator) -> None:
        """Begin; continue the counts that a process before this one has left."""
        self._name = module.__name__.rpartition(".")[2]
        self._target: Callable[[bytes], None] = module.fuzz
        self._bound = Bound(module)
        self._trace = trace
        self._mutator = mutator
        self._paths = Paths()
        self.executions, self._slowest_ns, self._growth, self._paths_before, _ = trace.progress
        self._resident = _resident_bytes()
        self._known: set[str] = set()

    def limit_memory(self) -> None:
        """From here on the process may grow by a bounded size."""
        self._resident = _resident_bytes()
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + GROWTH_BYTES_MAX
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def give_some(self) -> None:
        """Let the target read the next inputs, and follow one of them."""
        data = self._mutator.next()
        if self.follow(data):
            self._mutator.keep(data)
        for _ in range(FOLLOWED - 1):
            self.give(self._mutator.next())
        self._growth = max(self._growth, _resident_bytes() - self._resident)

    def give(self, data: bytes) -> None:
        """Let the target read one input, and see how long it takes."""
        self._note(data)
        took = self._timed(data)
        if not self._bound.passes(data, took):
            took = min(took, *(self._timed(data) for _ in range(AGAIN)))
            if not self._bound.passes(data, took):
                self._found(f"slow: {took // 1_000_000} ms", data, key="slow")
        self._slowest_ns = max(self._slowest_ns, took)
        self.executions += 1

    def follow(self, data: bytes) -> bool:
        """Let the target read one input; tell whether it takes a new way through the code."""
        self._note(data)
        is_new = self._paths.follow(partial(self._read, data))
        self.executions += 1
        return is_new

    def close(self) -> None:
        """Leave the last numbers."""
        self._note(b"")

    def _note(self, data: bytes) -> None:
        paths = max(self._paths_before, len(self._paths))
        progress = (self.executions, self._slowest_ns, self._growth, paths, self._mutator.kept)
        self._trace.begin(data, Progress(*progress))

    def _timed(self, data: bytes) -> int:
        begun = time.process_time_ns()
        self._read(data)
        return time.process_time_ns() - begun

    def _read(self, data: bytes) -> None:
        try:
            self._target(data)
        except Exception as escaped:  # noqa: BLE001 - whatever escapes is what is looked for
            frames = traceback.extract_tb(escaped.__traceback__)[-4:]
            where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
            kind = type(escaped).__name__
            self._found(f"{kind}: {str(escaped)[:200]} at {where}", data, key=f"{kind} {where}")

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
