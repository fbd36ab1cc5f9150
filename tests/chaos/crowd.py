"""The crowd as the run moves it: 50 places in a few processes, and what each is told next."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from tests.chaos.journal import AnyEvent, Killed, now_ms
from tests.chaos.plan import SESSIONS_MS
from tests.kill.node_process import ENDS_WITH_US, ROOT

WORKERS: Final = 5
AWAY_S_MAX: Final = 2.0
"""A place stays empty for up to so long."""
BROKEN_S_MAX: Final = 1.2
"""A broken stream is resumed within it; the node waits for 2 s."""
LATE_S: Final = 1.5
"""So long after its time is over, a silent or cut member speaks again."""
RESUME_S: Final = 2.0
STRIKES: Final = {"leave": 5, "cut": 5, "break": 4, "pause": 5, "kill": 1}
"""What happens to a member, or with `kill` to all of a process, and how often."""

STRIKES_DEALT: Final = sum(STRIKES.values())


@dataclass(slots=True)
class Place:
    """One of the crowd's places: empty, or a membership."""

    number: int
    worker: int
    who: str = ""
    times: int = 0
    busy: bool = False
    """Something happens to it already."""


@dataclass(slots=True)
class Crowd:
    """Everybody. Belongs to the run's loop."""

    target: str
    folder: Path
    rand: Random
    note: Callable[[AnyEvent], None]
    tasks: asyncio.TaskGroup
    places: list[Place] = field(default_factory=list)
    strikes: Counter[str] = field(default_factory=Counter)
    _processes: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)
    _deck: list[str] = field(default_factory=list)
    _journals: int = 0
    _quiet: asyncio.Event = field(default_factory=asyncio.Event)

    async def gather(self, members: int) -> None:
        """Start the processes, and have everybody join."""
        for worker in range(WORKERS):
            await self._start(worker)
        self.places = [Place(number, number % WORKERS) for number in range(members)]
        for place in self.places:
            self._join(place)

    def strike(self) -> None:
        """Let something happen to somebody."""
        free = [place for place in self.places if not place.busy]
        if not free:  # everybody has been struck
            return
        if not self._deck:  # dealt like cards: none is left out for long
            self._deck = self.rand.sample(list(STRIKES), STRIKES_DEALT, counts=STRIKES.values())
        what = self._deck.pop()
        place = self.rand.choice(free)
        if what == "kill":
            self.tasks.create_task(self._kill(place.worker))
        else:
            place.busy = True
            self.strikes[what] += 1
            self.tasks.create_task(self._happen(what, place))

    async def settle(self) -> None:
        """Return once nothing happens to anybody any more."""
        while any(place.busy for place in self.places):
            self._quiet.clear()
            await self._quiet.wait()

    async def disperse(self) -> None:
        """Have everybody leave; end the processes."""
        for place in self.places:
            self._tell(place.worker, "leave", place.who)
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes.values():
            await process.wait()

    async def kill_all(self) -> None:
        """Leave no process behind."""
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _happen(self, what: str, place: Place) -> None:
        """Strike a membership; if its process is killed meanwhile, the place is seen to there."""
        who, worker = place.who, place.worker
        process = self._processes[worker]
        self._tell(worker, what, who)
        if what == "break":
            await asyncio.sleep(self.rand.random() * BROKEN_S_MAX)
        elif what == "pause":
            await asyncio.sleep(int(who.rpartition("~")[2]) / 1_000 + LATE_S)
        elif what == "cut":
            await asyncio.sleep(self.rand.choice((0.0, RESUME_S + LATE_S)))
        if not self._runs(worker, process):
            return
        if what == "break":
            self._tell(worker, "resume", who)
        else:
            if what in {"pause", "cut"}:
                self._tell(worker, "late", who)
            await asyncio.sleep(self.rand.random() * AWAY_S_MAX)
            if not self._runs(worker, process):
                return
            self._join(place)
        self._free(place)

    async def _kill(self, worker: int) -> None:
        """Kill a process with all that are in it; begin another one for them."""
        theirs = [place for place in self.places if place.worker == worker]
        if worker not in self._processes or all(place.busy for place in theirs):
            return
        process = self._processes.pop(worker)
        self.strikes["kill"] += 1
        for place in theirs:
            place.busy = True
            self.note(Killed(now_ms(), place.who))
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        await asyncio.sleep(self.rand.random() * AWAY_S_MAX)
        await self._start(worker)
        for place in theirs:
            self._join(place)
            self._free(place)

    def _runs(self, worker: int, process: asyncio.subprocess.Process) -> bool:
        return self._processes.get(worker) is process

    def _free(self, place: Place) -> None:
        place.busy = False
        self._quiet.set()

    def _join(self, place: Place) -> None:
        place.times += 1
        session_ms = self.rand.choice(SESSIONS_MS)
        place.who = f"m{place.number}-{place.times}~{session_ms}"
        self._tell(place.worker, "join", place.who, session_ms)

    def _tell(self, worker: int, *words: Any) -> None:
        process = self._processes[worker]
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(words) + b"\n")

    async def _start(self, worker: int) -> None:
        self._journals += 1
        path = self.folder / f"worker-{self._journals:03d}.jsonl"
        said = path.with_suffix(".log").open("wb")
        command = [*ENDS_WITH_US, sys.executable, "-m", "tests.chaos.worker"]
        self._processes[worker] = await asyncio.create_subprocess_exec(
            *command,
            self.target,
            str(path),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=said,
            stderr=said,
        )
        said.close()
