"""One partition, its leader and followers, their disks and links, from one seed.

`python -m tests.sim.replication SEED` prints the run. The fault model: links lose whatever they
carry; a crash loses what was not flushed and everything under way on that node's links. The leader
stays; elections have a simulation of their own.

Checked after every event:
    HW_NEVER_FALLS                 what a reader saw stays visible.
    LOG_HAS_NO_GAP                 a follower takes batches only where its log ends.
    ACKED_IS_FLUSHED               at the instant the mark passes a record, min ISR disks hold it.
    ELECTABLE_HOLDS_COMMITTED      an ISR member that has not restarted holds what is committed.
    POWER_CUT_LOSES_NOTHING        after a cut of all, some member of ISR or ELR still has it.
At the end, healed: PROGRESS_AFTER_HEALING.
"""

import random
import sys
from collections.abc import Callable
from functools import partial

from cluster.peer.replica import Batches, Progress
from cluster.replication.events import (
    Appended,
    Committed,
    IsrDecided,
    Persisted,
    ProposeIsr,
    TickEnded,
)
from cluster.replication.follower import PartitionFollower
from cluster.replication.high_watermark import CommitRule, Ends
from cluster.replication.leader import Event, PartitionLeader
from logstore.settings import Flush
from model.ids import MonotonicMs, NodeId, Offset, RegistrationEpoch

LEADER = NodeId(1)


class World:
    """Everything outside the cores. The tape of choices is `random.Random(seed)` alone."""

    def __init__(self, seed: int, *, replicas: int = 3, min_insync_replicas: int = 2) -> None:
        self.choose = random.Random(seed)
        self.now = MonotonicMs(0)
        self.rule = CommitRule(
            flush=Flush.QUORUM, min_insync_replicas=min_insync_replicas, replica_lag_ms_max=20
        )
        self.isr = frozenset(NodeId(n) for n in range(1, replicas + 1))
        self.elr: frozenset[NodeId] = frozenset()
        self.epochs = dict.fromkeys(self.isr, RegistrationEpoch(0))
        self.joined_in = dict(self.epochs)
        self.own = Ends(Offset(0), Offset(0), Offset(0))
        self.followers = {
            node: PartitionFollower(node, RegistrationEpoch(0), recovered_end=Offset(0))
            for node in self.isr - {LEADER}
        }
        self.leader = PartitionLeader(
            LEADER, ends=self.own, replicas=self.isr, isr=self.isr, rule=self.rule, now=self.now
        )
        self.links: dict[NodeId, list[Batches | Progress]] = {n: [] for n in self.followers}
        self.asked: list[dict[NodeId, RegistrationEpoch]] = []
        self.answers: list[frozenset[NodeId]] = []
        self.mark = Offset(0)
        self.trace: list[str] = []

    def run(self, events: int) -> None:
        """Faults for that many events; then heal, and demand progress.

        Every seed has its own mix of what is frequent and what is rare: a slow disk here, a
        cut-off follower there. One mix for all would never see the rare combinations.
        """
        calm: list[Callable[[], object]] = [self.tick, self.decide, self.hear]
        calm.append(partial(self.persist, LEADER))
        rough: list[Callable[[], object]] = []
        for node in self.followers:
            calm += [partial(self.deliver, node), partial(self.persist, node)]
            rough += [self.links[node].clear, partial(self.crash, node)]
        weights = [self.choose.choice((1, 3, 20)) for _ in [self.append, *calm]]
        weights += [self.choose.choice((0, 1, 3)) for _ in rough]
        for happen in self.choose.choices([self.append, *calm, *rough], weights, k=events):
            happen()
        goal = self.append()
        for link in self.links.values():
            link.clear()
        for happen in calm * 40:
            happen()
        assert self.mark >= goal, "PROGRESS_AFTER_HEALING"
        assert self.isr == self.followers.keys() | {LEADER}, "PROGRESS_AFTER_HEALING"

    def append(self) -> Offset:
        self.own = self.own._replace(log=Offset(self.own.log + 1))
        self.lead(Appended(self.own.log))
        return self.own.log

    def persist(self, node: NodeId) -> None:
        """One round of a writer thread: sync what it wrote last time, write what has come since."""
        ends = self.ends()[node]
        if ends.flushed < ends.log:
            persisted = Persisted(written_end=ends.log, flushed_end=ends.written)
            if node == LEADER:
                self.own = Ends(ends.log, *persisted)
                self.lead(persisted)
            else:
                self.follow(node, persisted)

    def tick(self) -> None:
        self.now = MonotonicMs(self.now + self.choose.randrange(10))
        self.lead(TickEnded())

    def deliver(self, node: NodeId) -> None:
        link = self.links[node]
        for _ in range(len(link)):
            match link.pop(0):
                case Batches() as batches:
                    self.follow(node, batches)
                case Progress() as progress:
                    self.lead(progress)

    def decide(self) -> None:
        """The controller answers the oldest request; who leaves a thin ISR stays eligible."""
        if self.asked:
            followers = self.asked.pop(0)
            if all(self.epochs[node] == epoch for node, epoch in followers.items()):
                members = followers.keys() | {LEADER}
                thin = len(members) < self.rule.min_insync_replicas
                self.elr = (self.elr | self.isr) - members if thin else frozenset()
                self.isr = frozenset(members)
                self.joined_in |= followers
            self.answers.append(self.isr)

    def hear(self) -> None:
        """The controller's oldest answer reaches the leader."""
        if self.answers:
            self.lead(IsrDecided(self.answers.pop(0)))

    def crash(self, node: NodeId) -> None:
        """Power cut of one follower; it restarts at once with what its disk kept."""
        flushed = self.followers[node].ends.flushed
        self.epochs[node] = RegistrationEpoch(self.epochs[node] + 1)
        self.followers[node] = PartitionFollower(node, self.epochs[node], recovered_end=flushed)
        self.links[node].clear()
        self.check(f"crash {node} keeps {flushed}")

    def follow(self, node: NodeId, event: Batches | Persisted) -> None:
        log_end = self.followers[node].ends.log
        for effect in self.followers[node].step(event):
            match effect:
                case Progress():
                    self.links[node].append(effect)
                case Appended():
                    assert isinstance(event, Batches)
                    assert event.start == log_end, "LOG_HAS_NO_GAP"
        self.check(f"{node} <- {event}")

    def lead(self, event: Event) -> None:
        for effect in self.leader.step(self.now, event):
            match effect:
                case Batches(to):
                    self.links[to].append(effect)
                case ProposeIsr(followers):
                    self.asked.append(followers)
                case Committed(high_watermark):
                    assert high_watermark > self.mark, "HW_NEVER_FALLS"
                    self.mark = high_watermark
                    flushed = [ends for ends in self.ends().values() if ends.flushed >= self.mark]
                    assert len(flushed) >= self.rule.min_insync_replicas, "ACKED_IS_FLUSHED"
        self.check(f"{LEADER} <- {event}")

    def ends(self) -> dict[NodeId, Ends]:
        return {LEADER: self.own} | {node: f.ends for node, f in self.followers.items()}

    def check(self, happened: str) -> None:
        """Hold every invariant against the true state, which no core sees."""
        self.trace.append(f"{self.now:5} isr={sorted(self.isr)} mark={self.mark} {happened}")
        ends = self.ends()
        for node in self.isr:
            if self.joined_in[node] == self.epochs[node]:
                assert ends[node].written >= self.mark, "ELECTABLE_HOLDS_COMMITTED"
        kept = max(ends[node].flushed for node in self.isr | self.elr)
        assert kept >= self.mark, "POWER_CUT_LOSES_NOTHING"


if __name__ == "__main__":
    world = World(int(sys.argv[1]))
    try:
        world.run(events=400)
    finally:
        sys.stdout.write("\n".join(world.trace) + "\n")
