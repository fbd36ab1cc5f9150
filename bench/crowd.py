"""A process of group members, followed by the lines that it prints.

Both clients print the same: "SECONDS MEMBER assigned|revoked|read PARTITION...", on the monotonic
clock of the machine, first of all a line "began". So the same rule tells for either server when
every partition is held once and nothing moves any more.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Final, NamedTuple

from bench.tidelog_node import environment

POLL_S: Final = 0.05
REST_S_MAX: Final = 120


class Event(NamedTuple):
    """One line."""

    at: float
    """Seconds, on the monotonic clock."""
    member: int
    what: str
    partitions: tuple[int, ...]


class Crowd:
    """What is known of the members."""

    def __init__(self, child: subprocess.Popen[str], log: Path) -> None:
        """Follow a process."""
        self.child = child
        self.events: list[Event] = []
        self._log = log

    def follow(self) -> None:
        """Take its lines until there are no more; on a thread of its own."""
        for line in self.child.stdout or ():
            at, member, what, *numbers = line.split()
            self.events.append(Event(float(at), int(member), what, tuple(map(int, numbers))))

    def held(self) -> dict[int, set[int]]:
        """Return the partitions of each member that has any."""
        held: dict[int, set[int]] = {}
        for event in list(self.events):
            mine = held.setdefault(event.member, set())
            if event.what == "assigned":
                mine |= set(event.partitions)
            elif event.what == "revoked":
                mine -= set(event.partitions)
        return {member: partitions for member, partitions in held.items() if partitions}

    def began(self) -> float:
        """Return when the first member was made."""
        return self.events[0].at

    def last_move(self) -> float:
        """Return when a partition was given or taken last."""
        return max((each.at for each in list(self.events) if each.what != "read"), default=0.0)

    def all_read(self, partitions: Set[int], *, since: float) -> float:
        """Return when the last of these partitions was read for the first time since a moment.

        Raises:
            LookupError: one of them was not.
        """
        first: dict[int, float] = {}
        for event in list(self.events):
            if event.what == "read" and event.at > since:
                for number in partitions & set(event.partitions):
                    first.setdefault(number, event.at)
        if missing := partitions - first.keys():
            raise LookupError(f"nobody has read partitions {sorted(missing)}")
        return max(first.values())

    def check(self) -> None:
        """Raise what ended the process.

        Raises:
            RuntimeError: it is over; with the end of what it said.
        """
        if self.child.poll() is not None:
            said = self._log.read_text(encoding="utf-8", errors="replace")[-1_000:]
            raise RuntimeError(f"the members ended: {said}")


@contextlib.contextmanager
def crowd(command: Sequence[str], log: Path) -> Iterator[Crowd]:
    """Run a process of members; it is killed at the end."""
    with log.open("ab") as errors:
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment()
        )
    followed = Crowd(child, log)
    thread = threading.Thread(target=followed.follow)
    thread.start()
    try:
        yield followed
    finally:
        child.kill()
        child.wait()
        thread.join()


def settled(crowds: Sequence[Crowd], *, members: int, partitions: int, quiet_s: float) -> float:
    """Wait until nothing has moved for so long; return when it moved last.

    That is: each of so many members holds something, and each partition is held once.

    Raises:
        RuntimeError: a process of members ended.
        TimeoutError: it never comes to rest.
    """
    give_up = time.monotonic() + REST_S_MAX
    held: list[set[int]] = []
    every: list[int] = []
    while time.monotonic() < give_up:
        held = [one for each in crowds for one in each.held().values()]
        every = sorted(number for one in held for number in one)
        if len(held) == members and every == list(range(partitions)):
            last = max(each.last_move() for each in crowds)
            if time.monotonic() - last > quiet_s:
                return last
        for each in crowds:
            each.check()
        time.sleep(POLL_S)
    raise TimeoutError(
        f"{partitions} partitions are held {len(every)} times by {len(held)} members"
    )
