"""Three machines, their nodes, their clients and their weather, from one plan.

A run forms a cluster, creates a topic on all three nodes, lets clients work while things go wrong,
then lets everything heal. It ends well when, within a time, every partition is led and whole on all
three, everything that clients had begun is answered, and what they read is what was acknowledged
(PROGRESS_AFTER_HEALING). What must hold meanwhile: `api.sim.books`, `api.sim.clients`.

Nothing in a run depends on the machine it runs on: `trace_hash` of one plan is always the same.
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from hashlib import blake2b
from typing import Final
from zlib import crc32

from api.sim.books import Books
from api.sim.breach import Breach
from api.sim.calls import Calls
from api.sim.chance import chance
from api.sim.clients import (
    TOPIC,
    Client,
    Ledger,
    Producer,
    Reader,
    check_partition,
    create_topic,
)
from api.sim.loop import US_PER_MS, Lane, SimLoop
from api.sim.machines import Machines
from api.sim.net import SimNet
from api.sim.plan import MACHINES, Plan
from api.sim.process import Process
from api.sim.weather import Weather
from api.sim.wires import Mark
from cluster.shell.peer_network import Address
from model.ids import PartitionId

START_MS: Final = 20_000
"""For three empty nodes to form a cluster, and for the topic to be there."""
HEAL_MS: Final = 60_000
"""From the moment when nothing is wrong any more."""
STEPS_MAX: Final = 3_000_000
PEER_PORT: Final = 7_000


class Stopped(Exception):  # noqa: N818 - says what happened
    """The run was to go no further than this step."""


class World:
    """See the module. `run` once."""

    def __init__(self, plan: Plan, *, until: int | None = None) -> None:
        """`until`: stop after so many steps, whatever holds."""
        seed = plan.seed
        self.plan = plan
        self.lines: list[str] = []
        """What a person wants to see of the run."""
        loop = self.loop = SimLoop.begin(chance("lanes", seed).randrange)
        addresses = {number: Address(f"n{number}", PEER_PORT) for number in MACHINES}
        self.net = SimNet(loop, chance("net", seed), addresses)
        self.machines = Machines(plan, loop, self.net, tell=self.tell)
        self.books = Books(self.machines.disks, self.machines.running)
        self.ledger = Ledger(partial(self.books.committed, TOPIC))
        calls = self._calls = Calls(
            loop, chance("calls", seed), self.machines.processes.get, note=self._answered
        )
        self.machines.on_end += [self.books.ended, calls.ended]
        self.weather = Weather(plan, loop, self.net, machines=self.machines, topic=TOPIC)
        self.weather.tell = self.tell
        self._hash = blake2b(digest_size=16)
        self._until = until
        self._readers: list[Reader] = []
        self._events: Counter[str] = Counter()
        loop.after = self._passed
        self.net.carried = self._carried

    @property
    def trace_hash(self) -> str:
        """Stands for everything that has happened: bytes on wires, passes, faults, answers."""
        return self._hash.hexdigest()

    @property
    def happened(self) -> Counter[str]:
        """What came to pass, and how often: a campaign asserts that it did."""
        refusals = {f"told {reason}": count for reason, count in self.ledger.refusals.items()}
        return self._events + self.books.happened + self.weather.happened + Counter(refusals)

    def run(self) -> None:
        """Run the plan.

        Raises:
            Breach: an invariant does not hold.
            Stopped: after so many steps as were asked for.
            BaseException: what a process failed with, that may not fail.
        """
        try:
            self._form()
            self._begin_clients()
            self.weather.begin()
            self._pass_by(self.plan.storm_ms)
            self.tell("everything heals")
            self.ledger.stopping = True
            self.weather.end()
            self._reach(self._is_whole, HEAL_MS, "every partition is whole, every call answered")
            for number, reader in enumerate(self._readers):
                self._reach(partial(self._has_read, number), HEAL_MS, "readers reach the end")
                check_partition(self.ledger, reader, number)
        finally:
            for process in self.machines.running():
                self.machines.end(process)

    def tell(self, line: str) -> None:
        """Write a line of the trace."""
        self.lines.append(f"{self.loop.now_us / 1e6:10.4f} {self.loop.steps:8d}  {line}")
        self._hash.update(line.encode())

    def _form(self) -> None:
        """Let three empty nodes become a cluster, and create the topic."""
        self.machines.start_all()
        self._reach(self._all_joined, START_MS, "three nodes form a cluster")
        lane, made = self.loop.new_lane("admin"), list[str]()
        admin = self._client("admin", lane)

        async def create() -> None:
            await create_topic(admin, self.ledger, self.plan.partitions)
            made.append(TOPIC)

        self._begin(lane, create())
        self._reach(lambda: bool(made), START_MS, "a topic is created")

    # Clients.

    def _client(self, name: str, lane: Lane) -> Client:
        rand = chance("client", self.plan.seed, name)
        return Client(name, (self.loop, lane, rand, self._calls.of(lane)), MACHINES)

    def _begin_clients(self) -> None:
        for number in range(self.plan.producers):
            lane = self.loop.new_lane(f"p{number}")
            client = self._client(lane.name, lane)
            self._begin(lane, Producer(client, self.ledger, number % self.plan.partitions).run())
        for number in range(self.plan.partitions):
            lane = self.loop.new_lane(f"r{number}")
            reader = Reader(self._client(lane.name, lane), self.ledger, number)
            self._readers.append(reader)
            self._begin(lane, reader.run())

    def _begin(self, lane: Lane, work: Coroutine[object, object, None]) -> None:
        """Let a client work; what it fails with ends the run."""

        async def done() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - the loop raises it where the run is
                self.loop.failures.append(error)

        self.loop.within(lane, lambda: self.loop.create_task(done()))

    # Time.

    def _reach(self, holds: Callable[[], bool], within_ms: int, what: str) -> None:
        """Let happen what happens until something holds.

        Raises:
            Breach: it does not, in time.
        """
        is_late = self._passed_by(within_ms)
        self._go(lambda: holds() or bool(is_late))
        if not holds():
            seen = f"{what}: not within {within_ms} ms; {self._state()}"
            raise Breach("PROGRESS_AFTER_HEALING", seen)

    def _pass_by(self, ms: int) -> None:
        is_over = self._passed_by(ms)
        self._go(lambda: bool(is_over))

    def _passed_by(self, ms: int) -> list[int]:
        """Return what is empty until so much time has passed."""
        passed: list[int] = []
        when_us = self.loop.now_us + ms * US_PER_MS
        self.loop.post_at(self.loop.outside, when_us, passed.append, ms)
        return passed

    def _go(self, holds: Callable[[], bool]) -> None:
        if not self.loop.run_until(holds, steps=STEPS_MAX):
            raise Breach("IT_COMES_TO_AN_END", f"not within {STEPS_MAX} steps; {self._state()}")

    # What is seen.

    def _all_joined(self) -> bool:
        running = self.machines.running()
        return len(running) == len(MACHINES) and all(one.has_joined for one in running)

    def _is_whole(self) -> bool:
        """Tell whether every partition is led and the same on all, and all is acknowledged."""
        if self.ledger.producing or not self._all_joined():
            return False
        ends: dict[PartitionId, set[int]] = {}
        leaders: Counter[PartitionId] = Counter()
        for process in self.machines.running():
            for hosted in process.up.partitions:
                row = hosted.topic.partitions[hosted.number]
                if len(row.isr) != len(row.replicas):
                    return False
                marks = ends.setdefault(hosted.id, set())
                marks |= {int(hosted.high_watermark), int(hosted.log.log_end)}
                leaders[hosted.id] += hosted.leads and hosted.serves
        return len(ends) >= self.plan.partitions and all(
            len(marks) == 1 and leaders[one] == 1 for one, marks in ends.items()
        )

    def _has_read(self, number: int) -> bool:
        return self._readers[number].position >= self.books.committed(TOPIC, number)

    def _state(self) -> str:
        """Return who stands where, for a person."""
        rows = [f"{self.ledger.producing} still produce; refused so far: {self.ledger.refusals}"]
        for process in self.machines.running():
            rows.append(f"node {process.number} " + ("serves" if process.has_joined else "joins"))
            for hosted in process.node.partitions if process.node is not None else ():
                row = hosted.topic.partitions[hosted.number]
                rows.append(
                    f"  {hosted.topic.name}/{hosted.number} {'leads' if hosted.leads else ''} "
                    f"epoch {hosted.leader_epoch} mark {hosted.high_watermark} "
                    f"end {hosted.log.log_end}; leader {row.leader} isr {row.isr} elr {row.elr}"
                )
        return "\n".join(rows)

    def _passed(self, lane: Lane, done: int) -> None:
        """Look at the process that has had its turn; note that it had it."""
        self._hash.update(b"%d %s %d;" % (self.loop.now_us, lane.name.encode(), done))
        if self.loop.steps == self._until:
            raise Stopped
        process = self.machines.of_lane(lane)
        if process is None:
            return
        if process.failures:
            raise process.failures[0]
        self.books.look(process)
        if process.events:
            self._take_events(process)

    def _take_events(self, process: Process) -> None:
        for event in process.events:
            self._events[event] += 1
            self.tell(f"node {process.number}: {event}")
        process.events.clear()

    def _carried(self, sender: int, to: int, what: bytes | Mark) -> None:
        told = what.value.encode() if isinstance(what, Mark) else b"%d" % crc32(what)
        self._hash.update(b"%d>%d %s;" % (sender, to, told))

    def _answered(self, line: str) -> None:
        self._hash.update(line.encode())
