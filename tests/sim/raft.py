"""The controller quorum in a world of one seed: members, disks, links, clocks and an operator.

`python -m tests.sim.raft --seeds 500` runs seeds until one breaks an invariant, and says which;
`--seed N` prints the run of one.

The fault model: messages are lost, doubled, late and out of order; links are cut, one way or both;
processes are killed, also in the middle of a disk job, of which then any first part is left; they
stop in order, are paused, hear that a peer has died; clocks run at different speeds; disks are slow
or stuck; a directory is lost, and its node comes again under another identity. Members join, are
promoted and removed; the leadership is handed over; machines are snapshotted every few entries and
followers catch up by chunks of a few bytes. Every tenth seed has real files on simulated disks.

What must hold is in `tests/sim/raft_books.py` and `tests/sim/raft_disk.py`. At the end, healed:
PROGRESS_AFTER_HEALING.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

from cluster.raft.membership import RefusedError
from cluster.raft.messages import Message
from cluster.raft.node import RaftNode
from cluster.raft.voters import Configuration, Voter
from model.ids import Index, NodeId
from tests.sim.raft_books import Books
from tests.sim.raft_disk import FilesDisk, ModelDisk
from tests.sim.raft_member import Process
from tests.sim.raft_operator import lives_without_one, some_change
from tests.sim.raft_weather import Weather, some_limits

SEEDS: Final = 500
CHAOS_MS: Final = 8_000
HEALING_MS: Final = 30_000
PAUSES_MS: Final = (300, 1_500, 3_000)
LATE_MS: Final = 3_300
AFTERMATH_MS: Final = LATE_MS + PAUSES_MS[-1]
"""Whom the last late message finds paused takes it when the pause ends."""
OFTEN, NOW_AND_THEN, SELDOM, RARELY = (30, 80), (3, 8, 25), (0, 1, 3), (0, 0, 1, 2)
"""Weights of which each seed chooses one for everything that can happen."""
FILES_EVERY: Final = 10


class World:
    """Everything outside the members. The tape of choices is `Random(seed)` alone."""

    def __init__(self, seed: int, *, traced: bool = False) -> None:
        self.choose = Random(seed)
        self.trace: list[str] | None = [] if traced else None
        self.now = 0
        self._heap: list[tuple[int, int, Callable[[Any], None], Any]] = []
        self._number = 0
        self._files = seed % FILES_EVERY == 0
        self.limits = some_limits(self.choose)
        self.weather = Weather(self.choose)
        self._cuts: set[tuple[NodeId, NodeId]] = set()
        founders = tuple(self._identity(node) for node in range(1, self._pick(3, 3, 3, 5) + 1))
        spares = [self._identity(len(founders) + 1)] if self._pick(0, 1) else []
        self.disks: dict[Voter, ModelDisk] = {}
        self.books = Books(self.disks, founders)
        self.processes: dict[NodeId, Process] = {}
        for me in [*founders, *spares]:
            self._put_in(me, founders)

    # What the members ask for.

    def draw(self, stop: int) -> int:
        return self.choose.randrange(stop)

    def at(self, delay_ms: int, happen: Callable[[Any], None], what: Any) -> None:
        """Have something happen later."""
        self._number += 1
        heappush(self._heap, (self.now + delay_ms, self._number, happen, what))

    def sync_ms(self) -> int:
        """Return how long a disk takes for a job."""
        if self.weather.stuck and self.choose.random() < self.weather.stuck:
            self.books.counts["disk stuck"] += 1
            return 300 + self.draw(1_500)
        return 1 + self.draw(self.weather.sync_ms)

    def send(self, message: Message) -> None:
        """Carry a message, or not, or twice."""
        counts, weather = self.books.counts, self.weather
        counts["messages"] += 1
        if (message.source.node, message.to.node) in self._cuts:
            counts["cut off"] += 1
            return
        if weather.loss and self.choose.random() < weather.loss:
            counts["lost"] += 1
            return
        self.at(self._delay(), self._arrive, message)
        if weather.doubled and self.choose.random() < weather.doubled:
            counts["doubled"] += 1
            self.at(self._delay(), self._arrive, message)

    # The run.

    def run(self) -> None:
        """Faults for a while; then heal, and demand progress."""
        self.at(0, self._happen, self._happenings())
        self._go_on(CHAOS_MS)
        self._heal()

    def _go_on(self, until: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, happen, what = heappop(heap)
            if self.trace is not None:
                self.trace.append(f"{self.now:6} {happen.__name__} {_short(what)}")
            happen(what)
            self.books.counts["events"] += 1
        self.now = until

    def _arrive(self, message: Message) -> None:
        process = self.processes[message.to.node]
        if process.paused_until > self.now:
            self.at(process.paused_until - self.now, self._arrive, message)
            return
        process.take(message)

    def _happen(self, happenings: tuple[list[Callable[[], None]], list[int]]) -> None:
        """Let something happen, and again in a while."""
        if self.now < CHAOS_MS:
            happen = self.choose.choices(*happenings)[0]
            if self.trace is not None:
                self.trace.append(f"{self.now:6} {happen.__name__}")
            happen()
            self.at(5 + self.draw(self.weather.pace_ms), self._happen, happenings)

    def _happenings(self) -> tuple[list[Callable[[], None]], list[int]]:
        often: list[tuple[Callable[[], None], tuple[int, ...]]] = [
            (self.propose, OFTEN),
            (self.read, NOW_AND_THEN),
            (self.operate, NOW_AND_THEN),
            (self.transfer, (0, 2, 6)),
            (self.kill, RARELY),
            (self.stop, RARELY),
            (self.lose_directory, RARELY),
            (self.cut_one_way, SELDOM),
            (self.cut_off, SELDOM),
            (self.mend, (1, 3, 8)),
            (self.pause, SELDOM),
            (self.reset_link, (0, 2, 6)),
        ]
        return [happen for happen, _ in often], [self.choose.choice(w) for _, w in often]

    # What can happen.

    def propose(self) -> None:
        for process, node in self._leaders():
            for _ in range(1 + self.draw(3)):
                payload = self.choose.randbytes(self._pick(1, 4, 30, 90))
                self._ask("proposed", node.propose, payload)
            process.settle()

    def read(self) -> None:
        process = self._somebody()
        if process is not None:
            self._number += 1
            self._ask("read", process.read, self._number)

    def transfer(self) -> None:
        for process, node in self._leaders():
            to = self.choose.choice(node.configuration.members)
            self._ask("transfers", node.transfer, to)
            process.settle()

    def operate(self) -> None:
        """Change the quorum: first who is gone for good is taken out, else whatever comes."""
        for process, node in self._leaders():
            change = some_change(self, node.configuration)
            if change is not None:
                self._ask(type(change).__name__, node.change, change)
                process.settle()

    def kill(self) -> None:
        process = self._somebody()
        if process is not None:
            if process.busy:
                self.books.counts["killed in a disk job"] += 1
            process.end()
            self.books.counts["killed"] += 1
            self._tell_of_death(process)
            self.at(self._pick(10, 500, 3_000), self._start, process)

    def stop(self) -> None:
        process = self._somebody()
        if process is not None:
            process.stop()
            self.books.counts["stopped"] += 1
            self._tell_of_death(process)
            self.at(self._pick(10, 500, 3_000), self._start, process)

    def lose_directory(self) -> None:
        """Lose one, as long as the quorum can live without: its node comes again as another."""
        process = self._somebody()
        if process is None or not lives_without_one(self):
            return
        process.end()
        self.books.counts["directories lost"] += 1
        self._tell_of_death(process)
        known = tuple(v for v in self.books.quorums[-1].voters if v.node != process.me.node)
        self._put_in(self._identity(process.me.node), known)

    def cut_one_way(self) -> None:
        first, second = self.choose.sample(list(self.processes), 2)
        self._cuts.add((first, second))

    def cut_off(self) -> None:
        lonely = self.choose.choice(list(self.processes))
        for other in self.processes:
            self._cuts |= {(lonely, other), (other, lonely)}

    def mend(self) -> None:
        self._cuts.clear()

    def pause(self) -> None:
        process = self._somebody()
        if process is not None:
            process.paused_until = self.now + self._pick(*PAUSES_MS)
            self.books.counts["paused"] += 1

    def reset_link(self) -> None:
        """Have somebody believe in a death that is none."""
        process = self._somebody()
        if process is not None and process.node is not None:
            peer = self.choose.choice(process.node.configuration.members)
            process.hear_of_death(peer)

    # The end.

    def _heal(self) -> None:
        """Everything works from here on: a decision must reach every member of the quorum.

        Before that, what was on its way arrives, and who was paused wakes: afterwards nothing is
        left that could take the quorum its leader.
        """
        self._cuts.clear()
        self.weather.clear_up()
        for process in self.processes.values():
            if process.node is None:
                self._start(process)
        self._go_on(self.now + AFTERMATH_MS)
        quorum = self._agreed()
        self._go_on(self.now + 100)
        counts = self.books.counts
        before = counts["reads of a leader"] + counts["reads of a follower"]
        for member in quorum.members:
            self._number += 1
            self.processes[member.node].read(self._number)
        self._go_on(self.now + 1_000)
        after = counts["reads of a leader"] + counts["reads of a follower"]
        assert after - before >= len(quorum.members), "PROGRESS_AFTER_HEALING"

    def _agreed(self) -> Configuration:
        """Have a decision reach every member of the quorum; return the quorum."""
        asked: tuple[RaftNode, int] | None = None
        goal = None
        for _ in range(0, HEALING_MS, 500):
            self._go_on(self.now + 500)
            leaders = list(self._leaders())
            if len(leaders) != 1:
                continue
            process, node = leaders[0]
            quorum = node.configuration
            if not all(map(self.is_current, quorum.members)):
                self.operate()
            elif goal is None or asked != (node, node.term):  # another leader may not have it
                goal, asked = self._ask("proposed", node.propose, b"goal"), (node, node.term)
                process.settle()
            elif self._all_have(quorum, goal):
                return quorum
        raise AssertionError("PROGRESS_AFTER_HEALING")

    def _all_have(self, quorum: Configuration, goal: Index) -> bool:
        return all(self.processes[member.node].machine.index >= goal for member in quorum.members)

    # Means.

    def _pick(self, *choices: Any) -> Any:
        return self.choose.choice(choices)

    def _delay(self) -> int:
        if self.weather.late and self.choose.random() < self.weather.late:
            return 300 + self.draw(LATE_MS - 300)
        return 1 + self.draw(self.weather.delay_ms)

    def _identity(self, node: int) -> Voter:
        return Voter(NodeId(node), self.choose.randbytes(16))

    def _put_in(self, me: Voter, voters: tuple[Voter, ...]) -> None:
        """Start a node on an empty directory."""
        disk: ModelDisk = (
            FilesDisk(me, voters, choose=self.choose) if self._files else ModelDisk(me, voters)
        )
        self.disks[me] = disk
        process = Process(self, disk, tick_ms=70 + self.draw(80))
        self.processes[me.node] = process
        process.start()

    def _start(self, process: Process) -> None:
        if process.node is None and self.processes[process.me.node] is process:
            process.start()

    def _tell_of_death(self, dead: Process) -> None:
        for process in self.processes.values():
            if process.node is not None and self.draw(2):
                self.at(1 + self.draw(300), process.hear_of_death, dead.me)

    def _somebody(self) -> Process | None:
        up = [one for one in self.processes.values() if one.node is not None]
        return self.choose.choice(up) if up else None

    def _leaders(self) -> Iterator[tuple[Process, RaftNode]]:
        for process in self.processes.values():
            if process.node is not None and process.node.leadership is not None:
                yield process, process.node

    def _ask(self, name: str, request: Callable[[Any], Any], what: Any) -> Any:
        """Count what was taken, and what was refused, by its reason; return what was answered."""
        try:
            answer = request(what)
        except RefusedError as refused:
            name, answer = refused.refusal.name, None
        self.books.counts[name] += 1
        return answer

    def is_current(self, member: Voter) -> bool:
        return self.processes[member.node].me == member


def _short(what: Any) -> str:
    return repr(what)[:160] if isinstance(what, tuple) and hasattr(what, "source") else ""


def run(seed: int) -> World:
    """Run one seed; return the world as it ended."""
    world = World(seed)
    world.run()
    return world


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def sweep(seeds: Sequence[int]) -> int:
    """Run seeds; print what happened in them; 1 if one breaks an invariant."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        try:
            counts += run(seed).books.counts
        except AssertionError as broken:
            say(f"seed {seed}: {broken}; its run: python -m tests.sim.raft --seed {seed}")
            return 1
    for name, count in sorted(counts.items()):
        say(f"{name:32}{count:>12,}")
    say(f"{len(seeds)} seeds: every invariant holds")
    return 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make sim-raft", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="run this one alone, and print it")
    asked = parser.parse_args(arguments)
    if asked.seed is None:
        return sweep(range(asked.first, asked.first + asked.seeds))
    world = World(asked.seed, traced=True)
    try:
        world.run()
    finally:
        say("\n".join(world.trace or []))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
