"""Three machines: what their disks hold, and the processes that begin and end on them."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from api.sim.chance import chance
from api.sim.disk import SimDisk
from api.sim.faults import Operation
from api.sim.loop import US_PER_MS, Lane, PowerGone, SimLoop
from api.sim.net import SimNet
from api.sim.plan import MACHINES, Plan
from api.sim.process import Doors, Process
from model.ids import WallMs

NOON: Final = WallMs(1_767_268_800_000)
"""The date at which runs begin."""
JOB_US: Final = 400
"""What a job beside the loop takes in good weather, about."""
SLOW_JOB_TIMES: Final = 100
ALL_LOST_1_IN: Final = 4
"""Of power cuts, one in so many loses all that was pending; of the others any part is left."""
OPERATIONS_MAX: Final = 12
"""Of a disk, until the power goes in the middle of them."""
_JOURNAL: Final = "log.journal_file_bytes=64KiB"
"""Small, so that files are recycled within a run."""


class Machines:
    """See the module."""

    def __init__(
        self, plan: Plan, loop: SimLoop, net: SimNet, *, tell: Callable[[str], None]
    ) -> None:
        """Begin with empty disks and no process; `tell` writes a line of the trace."""
        self._plan, self._loop, self._net, self._tell = plan, loop, net, tell
        self._rand = chance("machines", plan.seed)
        self.disks = {number: SimDisk() for number in MACHINES}
        self.processes: dict[int, Process] = {}
        """Those that run now."""
        self.on_end: list[Callable[[Process], None]] = []
        """Each is called before a process ends."""
        self.slow: set[int] = set()
        """Whose disks take long."""
        self._is_well = False
        self._lanes: dict[Lane, Process] = {}
        self._lives: Counter[int] = Counter()

    def running(self) -> list[Process]:
        """Return the processes, by machine."""
        return list(self.processes.values())

    def of_lane(self, lane: Lane) -> Process | None:
        """Return whose lane it is."""
        return self._lanes.get(lane)

    def start_all(self) -> None:
        """Let a node begin on each machine that has none."""
        for number in MACHINES:
            self.start(number)

    def start(self, number: int) -> None:
        """Let a node begin on what its machine's disk has."""
        if number in self.processes:
            return
        self._lives[number] += 1
        lane = self._loop.new_lane(f"n{number}")
        doors = Doors(
            loop=self._loop,
            lane=lane,
            disk=self.disks[number],
            host=self._net.host(number, lane),
            rand=chance("node", self._plan.seed, number, self._lives[number]),
            takes_us=partial(self._takes_us, number),
        )
        addresses = self._net.addresses
        seeds = ",".join(map(str, addresses.values()))
        now_ms = self._loop.now_us // US_PER_MS
        process = Process(
            number,
            doors,
            [
                f"node.id={number}",
                "cluster.id=tide",
                f"cluster.seeds={seeds}",
                f"listeners.peer.bind={addresses[number]}",
                _JOURNAL,
            ],
            wall=WallMs(NOON + now_ms + self._plan.wall_off_ms[number - 1]),
            drift_ppm=self._plan.drift_ppm[number - 1],
        )
        self.processes[number] = self._lanes[lane] = process
        self._loop.post(lane, process.start)
        self._tell(f"node {number} begins")

    def end(self, process: Process, *, power: bool = False, orderly: bool = False) -> None:
        """End a process, if it has not ended.

        `power`: its machine goes dark, and of what is pending on its disk any part is left.
        `orderly`: it has stopped by itself.
        """
        number = process.number
        if self.processes.get(number) is not process:
            return
        del self.processes[number], self._lanes[process.lane]
        for call in self.on_end:
            call(process)
        self._net.end_process(number, power=power, orderly=orderly)
        process.kill()
        disk = self.disks[number]
        disk.before = None
        if power:
            everything = self._rand.randrange(ALL_LOST_1_IN) == 0
            disk.power_cut(
                lambda pending: pending.nothing if everything else pending.some(self._rand)
            )

    def cut_in_job(self, number: int) -> None:
        """Let the power go in the middle of what a process does to its disk, soon."""
        process = self.processes.get(number)
        if process is None:
            return
        left = 1 + self._rand.randrange(OPERATIONS_MAX)

        def before(operation: Operation, name: str, size: int) -> None:
            nonlocal left
            del operation, name, size
            left -= 1
            if left == 0:
                process.lane.held = True
                self._loop.post(self._loop.outside, self._power_gone, process)
            if left <= 0:
                raise PowerGone

        self.disks[number].before = before

    def well(self) -> None:
        """Let every disk be as it should, and everybody go on who was held."""
        self._is_well = True
        self.slow.clear()
        for number in MACHINES:
            self.disks[number].before = None
        for process in self.processes.values():
            process.lane.held = False

    def _power_gone(self, process: Process) -> None:
        """A machine's power has gone; if all is well by now, it is back at once."""
        self._tell(f"node {process.number} loses its power")
        self.end(process, power=True)
        if self._is_well:
            self.start(process.number)

    def _takes_us(self, number: int) -> int:
        takes_us = JOB_US // 2 + self._rand.randrange(JOB_US)
        return takes_us * SLOW_JOB_TIMES if number in self.slow else takes_us
