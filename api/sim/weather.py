"""Lets go wrong what the plan says, and lets it be well again."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from api.node.lifecycle import STOP_S_MAX
from api.sim.loop import US_PER_MS, SimLoop
from api.sim.machines import Machines
from api.sim.net import FAST_US, SimNet
from api.sim.plan import LEADER, MACHINES, Fault, Kind, Plan
from api.sim.process import Process

SLOW_WAY_US: Final = 40_000
"""One way where the ways of a machine are slow, about."""


class Weather:
    """See the module."""

    def __init__(
        self, plan: Plan, loop: SimLoop, net: SimNet, *, machines: Machines, topic: str
    ) -> None:
        """Nothing goes wrong yet. `topic`: whose first partition's leader is aimed at."""
        self._plan, self._loop, self._net, self._machines = plan, loop, net, machines
        self._topic = topic
        self.happened: Counter[str] = Counter()
        self.tell: Callable[[str], None] = lambda line: None
        self._is_over = False
        self._led = MACHINES[0]
        self._strikes: dict[Kind, Callable[[Fault], Callable[[], object] | None]] = {
            Kind.KILL: partial(self._kill, power=False),
            Kind.POWER: partial(self._kill, power=True),
            Kind.POWER_IN_JOB: self._power_in_job,
            Kind.POWER_ALL: self._power_all,
            Kind.STOP: self._stop,
            Kind.PAUSE: self._pause,
            Kind.RESET: self._reset,
            Kind.SLOW_WAYS: self._slow_ways,
            Kind.SLOW_DISK: self._slow_disk,
        }

    def begin(self) -> None:
        """Let everything of the plan happen at its time from now on."""
        for fault in self._plan.faults:
            self._later(fault.at_ms, partial(self._strike, fault))

    def end(self) -> None:
        """Let nothing be wrong any more."""
        self._is_over = True
        self._machines.well()
        self._net.mend_all()
        self._machines.start_all()

    def _strike(self, fault: Fault) -> None:
        """Let something go wrong, and plan its end."""
        if fault.machine == LEADER:
            fault = replace(fault, machine=self._leader())
        self.tell(f"{fault.kind.value} {fault.machine} for {fault.for_ms} ms")
        self.happened[fault.kind.value] += 1
        ends = self._strikes.get(fault.kind, self._cut)(fault)
        if ends is not None:
            self._later(fault.for_ms, ends)

    # Each returns what ends it.

    def _kill(self, fault: Fault, *, power: bool) -> Callable[[], object]:
        process = self._machines.processes.get(fault.machine)
        if process is not None:
            self._machines.end(process, power=power)
        return partial(self._machines.start, fault.machine)

    def _power_in_job(self, fault: Fault) -> Callable[[], object]:
        self._machines.cut_in_job(fault.machine)
        return partial(self._machines.start, fault.machine)

    def _power_all(self, fault: Fault) -> Callable[[], object]:
        del fault
        for process in self._machines.running():
            self._machines.end(process, power=True)
        return self._machines.start_all

    def _stop(self, fault: Fault) -> None:
        """Stop a process in order; it begins again so long after it has ended."""
        process = self._machines.processes.get(fault.machine)
        if process is None or not process.has_joined or process.stopping:
            return

        def ended(*, orderly: bool = True) -> None:
            if process.over:
                return
            self._machines.end(process, orderly=orderly)
            for_ms = 0 if self._is_over else fault.for_ms
            self._later(for_ms, partial(self._machines.start, process.number), always=True)

        self._later(STOP_S_MAX * 1_000, partial(ended, orderly=False), always=True)
        self._loop.within(process.lane, partial(process.begin_stop, ended))

    def _pause(self, fault: Fault) -> Callable[[], object] | None:
        process = self._machines.processes.get(fault.machine)
        if process is None:
            return None
        process.lane.held = True
        return partial(_resume, process)

    def _reset(self, fault: Fault) -> None:
        del fault
        self._net.reset_one()

    def _slow_disk(self, fault: Fault) -> Callable[[], object]:
        self._machines.slow.add(fault.machine)
        return partial(self._machines.slow.discard, fault.machine)

    def _slow_ways(self, fault: Fault) -> Callable[[], object]:
        ways = [(fault.machine, other) for other in MACHINES if other != fault.machine]
        self._net.slow(ways, SLOW_WAY_US)
        return partial(self._net.slow, ways, FAST_US)

    def _cut(self, fault: Fault) -> Callable[[], object]:
        here = fault.machine
        others = [one for one in MACHINES if one != here]
        into = [(other, here) for other in others]
        out = [(here, other) for other in others]
        ways = {
            Kind.ISOLATE: into + out,
            Kind.DEAF: into,
            Kind.MUTE: out,
            Kind.SPLIT: [into[0], out[0]],
        }[fault.kind]
        self._net.cut(ways)
        return partial(self._net.mend, ways)

    def _leader(self) -> int:
        """Return who leads the first partition; who led it last, or the first machine."""
        for process in self._machines.running():
            if process.has_joined and process.node is not None:
                partition = process.node.broker.partition(self._topic, 0)
                if partition.leads and partition.serves:
                    self._led = process.number
        return self._led

    def _later(self, ms: int, call: Callable[[], object], *, always: bool = False) -> None:
        """Do something after a while; unless `always`, not once everything is well."""

        def now() -> None:
            if always or not self._is_over:
                call()

        self._loop.post_at(self._loop.outside, self._loop.now_us + ms * US_PER_MS, now)


def _resume(process: Process) -> None:
    if not process.over:
        process.lane.held = False
