"""Kill a real node again and again: `python -m tests.kill.run --kills 200 --seed 1`.

A node runs under load from librdkafka; it is killed with SIGKILL, started on the same
directory, and the same producers go on. When they are quiet, everything is read back: what was
acknowledged is there, at its offset, byte for byte; what idempotent producers sent is there once.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from signal import SIGTERM, signal
from statistics import median
from typing import Any, Final

from tests.kill.era import ALL_TOPICS, LEADER_ONLY, SENDERS, Era, Stuck
from tests.kill.moment import Observer, Phase, supported
from tests.kill.node_process import NodeFailed, NodeProcess
from tests.kill.strike import Struck, strike
from tests.kill.verifier import Reading

SETTINGS: Final = (
    "log.journal_file_bytes=512KiB",
    "log.journal_files_max=4",
    "log.checkpoint_bytes=512KiB",
    "log.checkpoint_ms=500ms",
    "log.direct_append_bytes_min=32KiB",
    "log.round_journal_bytes_max=128KiB",
    "log.index_interval_bytes=1KiB",
    "log.tail_bytes=64KiB",
    "log.open_files_max=32",
    "log.loaded_segments_max=16",
    "logging.format=json",
    "logging.repeats_per_minute=1000000",
)
"""Small: files are recycled, rolled and closed all the time."""
KILLS_PER_ERA: Final = 6
ANSWERS: Final = (1_500, 6_000)
"""Records answered between a start and the search for a moment to kill."""
DECK: Final = (None, *Phase)
PROBLEMS_SHOWN: Final = 10
CLEAN_EXIT: Final = 0


@dataclass(slots=True)
class Tally:
    """What a run has seen."""

    kills: int = 0
    phases: Counter[Phase] = field(default_factory=Counter)
    unseen: int = 0
    """Kills without a look."""
    missed: int = 0
    in_flight: list[int] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    answered: int = 0
    read_back: int = 0
    doubled: int = 0
    replayed_entries: int = 0
    dropped_bytes: int = 0
    problems: list[str] = field(default_factory=list)

    def struck(self, how: Struck) -> None:
        """Count a kill."""
        self.kills += 1
        self.in_flight.append(how.in_flight)
        self.phases.update(how.phases)
        self.unseen += how.wanted is None
        self.missed += how.wanted is not None and how.wanted not in how.phases

    def read(self, reading: Reading) -> None:
        """Count a reading."""
        self.read_back += reading.records
        self.doubled += reading.doubled

    def recovered(self, events: Sequence[dict[str, Any]], odd: Sequence[str]) -> None:
        """Judge what a node says about its start: a kill damages nothing."""
        for event in events:
            match event["event"]:
                case "node_recovered":
                    self.replayed_entries += event["replayed_entries"]
                    self.dropped_bytes += event["dropped_bytes"]
                case "recovery_dropped" if not event["why"] or not event["file"]:
                    self.problems.append(f"a drop without a reason: {event}")
                case "recovery_repaired" | "node_failed" | "storage_failed" | "log_corrupt":
                    self.problems.append(f"the node says: {event}")
                case "request_failed" | "partition_stray":
                    self.problems.append(f"the node says: {event}")
        self.problems.extend(f"the node printed: {line}" for line in odd[:3])


class Campaign:
    """Kills of one node, one after the other."""

    def __init__(self, folder: Path, *, seed: int, say: Callable[[str], None]) -> None:
        """Work below `folder`."""
        self.tally = Tally()
        self._rand = Random(seed)
        self._say = say
        self._node = NodeProcess(folder / "data", SETTINGS, folder)
        self._deck: list[Phase | None] = []
        self._era: Era | None = None

    def run(self, kills: int) -> Tally:
        """Kill so often; stop at the first broken promise."""
        try:
            self.tally.ready_s.append(self._node.start())
            for number in range(kills):
                if number % KILLS_PER_ERA == 0:
                    self._next_era(number // KILLS_PER_ERA)
                self._kill(number)
                if self.tally.problems:
                    break
            self._end()
        except (Stuck, NodeFailed, TimeoutError) as broken:
            self.tally.problems.append(f"{type(broken).__name__}: {broken}")
            if self._era is not None:
                self.tally.problems.extend(self._era.ledger.problems)
        finally:
            if self._era is not None:
                self._era.load.pause()
            self._node.close()
        return self.tally

    def _next_era(self, number: int) -> None:
        if self._era is not None:
            self._era.end(delete=True)
        self._era = Era(
            number, self._node.doors, topics=ALL_TOPICS, senders=(*SENDERS, LEADER_ONLY)
        )

    def _kill(self, number: int) -> None:
        era, node, tally = self._era, self._node, self.tally
        assert era is not None, "an era begins with its first kill"
        if not self._deck:
            self._deck = self._rand.sample(DECK, len(DECK))
        wanted = self._deck.pop()
        before = era.ledger.answered()
        era.load.go()
        era.answered_more(self._rand.randrange(*ANSWERS))
        struck = strike(node, era, self._rand, wanted=wanted)
        tally.struck(struck)
        era.load.pause()
        keep_image(node.directory)
        ready_s = node.start()
        tally.ready_s.append(ready_s)
        tally.recovered(node.events(), node.odd_lines())
        era.drain()
        reading = era.read_back()
        tally.read(reading)
        tally.answered += era.ledger.answered() - before
        tally.problems.extend(era.ledger.problems)
        self._say(
            f"kill {number + 1}: {'unseen' if wanted is None else wanted.value}"
            f" after {struck.looks} looks, in {_named(struck)}; {struck.in_flight} in flight,"
            f" ready in {ready_s:.1f} s, {reading.records} read back"
        )

    def _end(self) -> None:
        """Stop the node in order, and let it start once more on what it left."""
        if self.tally.problems:
            return
        code = self._node.terminate()
        if code != CLEAN_EXIT:
            self.tally.problems.append(f"a stop in order ended with {code}")
        self.tally.recovered(self._node.events(), self._node.odd_lines())
        self.tally.ready_s.append(self._node.start())
        if self._era is not None:
            self.tally.read(self._era.read_back())
            self.tally.problems.extend(self._era.ledger.problems)
            self._era.end(delete=False)


def keep_image(directory: Path) -> None:
    """Keep the directory as the node left it, until the next kill: recovery changes it."""
    kept = directory.with_name("killed")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(directory, kept)


def _named(struck: Struck) -> str:
    calls = sorted(f"{doing.call.value} {doing.name.rpartition('/')[2]}" for doing in struck.doing)
    return ", ".join(sorted(phase.value for phase in struck.phases) + calls) or "?"


def report(tally: Tally) -> str:
    """Return the outcome for people."""
    met = ", ".join(f"{phase.value} {tally.phases[phase]}" for phase in Phase)
    lines = [
        f"kills: {tally.kills}; inside {met}; without a look {tally.unseen}; "
        f"moment not met {tally.missed}",
        f"in flight at a kill: at least {min(tally.in_flight, default=0)}, "
        f"median {median(tally.in_flight or [0]):.0f}",
        f"acknowledged: {tally.answered}; read back and compared: {tally.read_back}; "
        f"doubled without idempotence: {tally.doubled}",
        f"ready after a kill: median {median(tally.ready_s or [0]):.2f} s, "
        f"longest {max(tally.ready_s, default=0):.2f} s",
        f"recovery: {tally.replayed_entries} journal entries replayed, "
        f"{tally.dropped_bytes} bytes dropped",
    ]
    lines += [f"BROKEN: {problem}" for problem in tally.problems[:PROBLEMS_SHOWN]]
    return "\n".join(lines) + "\n"


def failed(tally: Tally, kills: int) -> bool:
    """Tell whether a run has shown less than it must."""
    met_all = all(tally.phases[phase] for phase in Phase)
    return bool(tally.problems) or tally.kills < kills or (kills >= len(DECK) and not met_all)


def run(kills: int, seed: int, *, say: Callable[[str], None]) -> tuple[Tally, bool]:
    """Run a campaign in a folder of its own, which stays if something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="tidelog-kill-"))
    tally = Campaign(folder, seed=seed, say=say).run(kills)
    bad = failed(tally, kills)
    if bad:
        say(f"directory and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return tally, bad


def main(arguments: Sequence[str]) -> int:
    """Kill as often as asked; report."""
    parser = argparse.ArgumentParser(prog="make kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if not supported():
        sys.stderr.write("this machine does not show what a process is in the middle of\n")
        return 2
    signal(SIGTERM, lambda *_: sys.exit(143))  # so that no node stays behind
    sys.setswitchinterval(0.000_5)  # the killer is one thread of several
    tally, bad = run(options.kills, options.seed, say=lambda text: print(text, flush=True))
    sys.stdout.write(report(tally) + ("FAIL\n" if bad else "PASS\n"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
