"""The quorum as it ships, three nodes in a world of one seed: shell, machine, files and frames.

`python -m tests.sim.quorum --seeds 200` runs seeds until one breaks an invariant. The core alone
meets more faults, and quicker, in `tests/sim/raft.py`; here stand what the shell adds: proposals
that wait, speculation that is thrown away, jobs that gather, images, deltas and snapshots.

What must hold: ANSWERED_STAYS, NOT_DONE_IS_NOT_THERE, ONE_HISTORY (nodes show the same image of the
same entry), READ_IS_FRESH, ONE_LEADER_A_TERM; and at the end, healed, an agreement.
"""

import argparse
import asyncio
import sys
from asyncio import Task, get_running_loop
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.topics import CreateTopic, DeleteTopic
from cluster.settings import ClusterSettings
from cluster.shell.raft_member import QuorumLeader
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import Index, NodeId, Term
from tests.quorum import turns
from tests.quorum_world import Host, QuorumWorld, create

SMALL: Final = ClusterSettings(quorum_snapshot_entries=6, quorum_file_bytes=1_024)
ROUNDS: Final = 80
NODES: Final = 3


class Books:
    """What was promised, by topic."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.created: set[str] = set()
        self.open: set[str] = set()
        self.never: set[str] = set()
        self.history: dict[Index, frozenset[str]] = {}
        self.leaders: dict[Term, NodeId] = {}

    def shown(self, image: MetadataImage, _: MetadataDelta) -> None:
        names = frozenset(map(str, image.topics))
        assert self.history.setdefault(image.applied, names) == names, "ONE_HISTORY"

    def led(self, leader: QuorumLeader) -> None:
        if leader.leads and leader.node is not None:
            first = self.leaders.setdefault(leader.term, leader.node)
            assert first == leader.node, "ONE_LEADER_A_TERM"

    def refused(self, name: str, error: RequestError) -> None:
        self.counts[error.code.name] += 1
        unknown = error.code.outcome is Outcome.UNKNOWN
        (self.open if unknown else self.never).add(name)


class Run:
    """One seed."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.books = Books()
        self.world = QuorumWorld(NODES, settings=SMALL)
        self.asked: list[Task[None]] = []
        self._number = 0

    async def run(self) -> None:
        loss = self.chance.choice((0.0, 0.02, 0.1))
        try:
            await self.world.formed()
            for host in self.world.hosts.values():
                self._listen(host)
            self.world.lose = lambda: self.chance.random() < loss
            for _ in range(ROUNDS):
                await self._round()
            await self._heal()
        finally:
            for task in self.asked:
                task.cancel()
            await self.world.close()

    @property
    def up(self) -> list[Host]:
        return [host for host in self.world.hosts.values() if host.up is not None]

    async def _round(self) -> None:
        for host in self.up:
            for _ in range(self.chance.randrange(3)):
                self._ask(host)
        await turns(self.chance.randrange(8))
        await self.world.ticks(self.chance.randrange(4))
        happen = self.chance.choice(
            [self._kill, self._cut, self._slow, self._mend, self._mend, self._transfer, self._dark]
            + [self._nothing] * 7
        )
        await happen()

    def _ask(self, host: Host) -> None:
        self._number += 1
        ask = self.chance.choice((self._create, self._create, self._read, self._delete))
        work = ask(host, f"t{self._number}")
        self.asked.append(get_running_loop().create_task(work))

    async def _create(self, host: Host, name: str) -> None:
        if host.up is None:
            return
        quorum = host.quorum
        try:
            await quorum.propose(create(name))
        except RequestError as error:
            self.books.refused(name, error)
        else:
            assert name in quorum.image.topics or name in self.books.open, "ANSWERED_STAYS"
            self.books.created.add(name)
            self.books.counts["created"] += 1

    async def _delete(self, host: Host, _: str) -> None:
        """Delete a topic of which nobody says afterwards that it is there."""
        if host.up is None:
            return
        name = self.chance.choice(sorted(self.books.created) or ["t0"])
        self.books.created.discard(name)
        self.books.open.add(name)
        try:
            await host.quorum.propose(DeleteTopic(name=name))
        except RequestError as error:
            self.books.counts[error.code.name] += 1

    async def _read(self, host: Host, _: str) -> None:
        if host.up is None:
            return
        quorum, before = host.quorum, set(self.books.created)
        try:
            await quorum.read_barrier()
        except RequestError as error:
            assert error.code.outcome is Outcome.NOT_DONE or host.up is not quorum
            self.books.counts["reads refused"] += 1
        else:
            still = before & self.books.created
            assert still <= set(map(str, quorum.image.topics)), "READ_IS_FRESH"
            self.books.counts["reads"] += 1

    # What happens to them.

    async def _nothing(self) -> None:
        """Let it run."""

    async def _kill(self) -> None:
        if len(self.up) == NODES:
            host = self.chance.choice(self.up)
            await host.kill(power=bool(self.chance.randrange(2)))
            for other in self.up:
                if self.chance.randrange(2):
                    other.quorum.peer_gone(host.me.node)
            self.books.counts["killed"] += 1

    async def _dark(self) -> None:
        for host in self.up:
            await host.kill(power=True)
        await self._start_all()
        self.books.counts["power lost by all"] += 1

    async def _cut(self) -> None:
        one, other = self.chance.sample(list(self.world.hosts), 2)
        if self.chance.randrange(2):
            self.world.cut_off(one)
        else:
            self.world.cuts.add((one, other))
        self.books.counts["cut"] += 1

    async def _slow(self) -> None:
        if self.up:
            self.chance.choice(self.up).runner.hold()
        self.books.counts["disks held"] += 1

    async def _mend(self) -> None:
        self.world.mend()
        for host in self.world.hosts.values():
            host.runner.release()
        await self._start_all()

    async def _transfer(self) -> None:
        for host in self.up:
            if host.quorum.leads:
                to = self.chance.choice(list(self.world.hosts))
                work = self._handed_over(host, to)
                self.asked.append(get_running_loop().create_task(work))

    async def _handed_over(self, host: Host, to: NodeId) -> None:
        try:
            await host.quorum.transfer_leadership(to)
            self.books.counts["handed over"] += 1
        except RequestError as error:
            self.books.counts[f"transfer {error.code.name}"] += 1

    async def _start_all(self) -> None:
        for host in self.world.hosts.values():
            if host.up is None:
                await host.start()
                self._listen(host)

    def _listen(self, host: Host) -> None:
        host.quorum.subscribe(self.books.shown)
        host.quorum.subscribe_leadership(self.books.led)

    async def _heal(self) -> None:
        self.world.lose = lambda: False
        await self._mend()
        leader = await self.world.leader()
        await self.world.ticks(25)
        for task in self.asked:
            assert task.done(), "EVERYBODY_IS_ANSWERED"
            task.result()
        leader = await self.world.leader()
        await self.world.done(leader.quorum.propose(CreateTopic(name="last", partitions=1)))
        found = set(map(str, (await self.world.agreed()).topics)) - {"last"}
        assert self.books.created <= found, "ANSWERED_STAYS"
        assert found <= self.books.created | self.books.open, "NOT_DONE_IS_NOT_THERE"
        for host in self.up:
            assert host.task is not None
            assert not host.task.done(), "A_MEMBER_GOES_ON"
        assert ErrorCode.INTERNAL.name not in self.books.counts


def run(seed: int) -> Counter[str]:
    """Run one seed; return what happened in it."""
    one = Run(seed)
    asyncio.run(one.run())
    return one.books.counts


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args(arguments)
    counts: Counter[str] = Counter()
    for seed in range(asked.first, asked.first + asked.seeds):
        try:
            counts += run(seed)
        except AssertionError as broken:
            sys.stdout.write(f"seed {seed}: {broken}\n")
            raise
    for name, number in sorted(counts.items()):
        sys.stdout.write(f"{name:24}{number:>10,}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
