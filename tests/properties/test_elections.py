"""Elections, ISR and registrations against nodes that hold logs and lose what was not flushed.

Two to five nodes hold one partition. They are killed, lose power or their volume, pause, stop in
order, come back, and are taken for dead whether they are or not. A plain model holds their logs,
what each of them has flushed, and what was acknowledged: written on the whole ISR and flushed on k
of it. Whoever leads, and is the process that is registered, holds every acknowledged record, in its
place; but for an election that was declared lossy.

A leader that is deposed acts no more: what happens while it does not know yet is the business of
the replication's own model.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from cluster.controller.codec import decode
from cluster.controller.image import PartitionImage, Standing
from cluster.controller.machine import ControllerMachine
from model.ids import Index, NodeId
from tests.controller_bench import Bench, Cluster, command

Record = tuple[int, int]
"""Leader epoch and a number that no other record has."""
AT = "orders/0"


@dataclass
class Node:
    """A node and its log."""

    alive: bool = True
    clean: bool = True
    """How its next start will be, and how its last one was."""
    registration: int = 1
    volume: int = 0
    """Counts those that were wiped."""
    log: list[Record] = field(default_factory=list)
    flushed: int = 0
    dirty: bool = False
    """Restarted unclean, and not in an ISR since."""
    told: bool = False
    """Said how far its log goes, since it restarted and nobody led."""
    known: tuple[int, int] = (0, 0)
    """Written and flushed end that the leader of this epoch has heard of."""
    begun_epoch: int = -1
    """The epoch that it has begun as a leader, its log synced."""

    def kill(self) -> None:
        """The process is gone; what it wrote is in the page cache."""
        if self.alive:
            self.alive, self.clean = False, False

    def lose_power(self) -> None:
        """And what it had not flushed."""
        self.kill()
        del self.log[self.flushed :]

    def flush(self) -> None:
        self.flushed = len(self.log)


some_node: Bundle[int] = Bundle("nodes")


class Elections(RuleBasedStateMachine):
    """One partition on all nodes."""

    @initialize(target=some_node, size=st.sampled_from([3, 3, 2, 4, 5]))
    def form(self, size: int) -> MultipleResults[int]:
        """Begin with that many nodes."""
        self.bench: Bench = Cluster(size=size).bench()
        self.k = size // 2 + 1
        self.nodes = {node: Node() for node in range(1, size + 1)}
        self.acked: list[Record] = []
        self.made = 0
        self.row = self.bench.row("orders")
        self.nodes[1].begun_epoch = 0
        return multiple(*self.nodes)

    # What the nodes do.

    @rule()
    def append(self) -> None:
        """The leader appends one record."""
        leader = self.leader
        if leader is not None:
            self.made += 1
            leader.log.append((self.row.leader_epoch, self.made))

    @rule(node=some_node)
    def follow(self, node: int) -> None:
        """A follower cuts what the leader lacks, takes what it has, and reports."""
        leader, follower = self.leader, self.nodes[node]
        if leader is None or follower is leader or not follower.alive:
            return
        common = 0
        for ours, theirs in zip(follower.log, leader.log, strict=False):
            if ours != theirs:
                break
            common += 1
        del follower.log[common:]
        follower.flushed = min(follower.flushed, common)
        follower.log += leader.log[common:]
        follower.known = (len(follower.log), follower.flushed)

    @rule(node=some_node)
    def flush(self, node: int) -> None:
        if self.nodes[node].alive:
            self.nodes[node].flush()

    @rule()
    def acknowledge(self) -> None:
        """What the whole ISR has written and k of it have flushed is acknowledged."""
        leader = self.leader
        if leader is None or len(self.row.isr) < self.k:
            return
        leader.known = (len(leader.log), leader.flushed)
        ends = [self.nodes[node].known for node in self.row.isr]
        flushed = sorted((end for _, end in ends), reverse=True)[self.k - 1]
        mark = min(flushed, *(written for written, _ in ends))
        if mark > len(self.acked):
            self.acked = leader.log[:mark]

    @rule(node=some_node)
    def join(self, node: int) -> None:
        """The leader proposes a follower that has everything acknowledged."""
        leader, follower = self.leader, self.nodes[node]
        if leader is None or not follower.alive or node in self.row.isr:
            return
        if follower.known[0] >= len(leader.log):
            self.propose([*self.row.isr, node])

    @rule(node=some_node)
    def lag(self, node: int) -> None:
        """The leader proposes to do without a follower."""
        if self.leader is not None and node in self.row.isr and node != self.row.leader:
            self.propose([one for one in self.row.isr if one != node])

    @rule()
    def answer(self) -> None:
        """The leader has flushed, and answers for whoever restarted unclean."""
        leader = self.leader
        if leader is not None:
            leader.flush()
            self.run(f"answer leader={self.row.leader} at={AT}")

    @rule(node=some_node)
    def tell(self, node: int) -> None:
        """A node that is asked for it says how far its log goes."""
        one = self.nodes[node]
        if one.alive and self.row.leader is None and node in self.row.marked:
            last_epoch = one.log[-1][0] if one.log else -1
            one.told = True
            self.run(f"tell node={node} at={AT} end={last_epoch}:{len(one.log)}")

    # What happens to them.

    @rule(node=some_node)
    def kill(self, node: int) -> None:
        self.nodes[node].kill()

    @rule(node=some_node)
    def lose_power(self, node: int) -> None:
        self.nodes[node].lose_power()

    @rule()
    def all_lose_power(self) -> None:
        for one in self.nodes.values():
            one.lose_power()

    @rule(node=some_node)
    def lose_volume(self, node: int) -> None:
        """The node is down, and its next start finds nothing."""
        one = self.nodes[node]
        one.kill()
        one.log, one.flushed, one.clean, one.volume = [], 0, True, one.volume + 1

    @rule(node=some_node)
    def stop(self, node: int) -> None:
        """Stop in order: hand over, flush, say so."""
        one = self.nodes[node]
        if one.alive:
            self.run(f"stand nodes={node} as=stopping")
            one.flush()
            one.alive, one.clean = False, True
            self.run(f"stand nodes={node} as=stopped")

    @rule(node=some_node)
    def start(self, node: int) -> None:
        one = self.nodes[node]
        if one.alive:
            return
        one.alive, one.told = True, False
        if not one.clean or one.volume:
            one.dirty, one.known = not one.clean, (0, 0)
        directory = f"{16 * one.volume + node:02x}" * 16
        clean = "yes" if one.clean else "no"
        self.run(f"register node={node} clean={clean} directory={directory}")
        one.registration += 1
        assert self.bench.image.brokers[NodeId(node)].registration_epoch == one.registration

    @rule()
    def all_start_and_tell(self) -> None:
        """As after a power cut of all: whoever is down comes back, and says what it is asked."""
        for node in self.nodes:
            self.start(node)
        for node in self.nodes:
            self.tell(node)

    @rule(node=some_node)
    def take_for_dead(self, node: int) -> None:
        """Whether it is, or only silent."""
        self.run(f"stand nodes={node} as=fenced")

    @rule(node=some_node)
    def hear_again(self, node: int) -> None:
        """A heartbeat of the process that is registered."""
        if self.nodes[node].alive:
            self.run(f"stand nodes={node} as=running")

    @rule(node=some_node)
    def doubt_clock(self, node: int) -> None:
        if self.nodes[node].alive:
            self.run(f"stand nodes={node} as=barred")

    @rule(node=some_node)
    def transfer(self, node: int) -> None:
        self.run(f"transfer at={AT} to={node}")

    @precondition(lambda self: self.row.leader is None)
    @rule(node=some_node)
    def force(self, node: int) -> None:
        """By command: the election that loses."""
        self.run(f"unclean at={AT} replica={node}")

    # What must hold.

    @property
    def leader(self) -> Node | None:
        """The leader, if its process lives and has begun its epoch."""
        one = self.nodes.get(self.row.leader or 0)
        if one is None or not one.alive:
            return None
        if one.begun_epoch != self.row.leader_epoch:
            one.flush()
            one.begun_epoch = self.row.leader_epoch
        return one

    def propose(self, members: list[int]) -> None:
        followers = "+".join(str(node) for node in members if node != self.row.leader)
        self.run(f"isr leader={self.row.leader} at={AT} with={followers}")

    def run(self, text: str) -> None:
        """Have it decided, and hold the row against the one before."""
        before = self.row
        self.bench.execute(command(text))
        self.row = self.bench.row("orders")
        if self.row.leader_epoch > before.leader_epoch:
            self.elected(before)
        for node in self.row.isr if self.row.leader is not None else ():
            self.nodes[node].dirty = False

    def elected(self, before: PartitionImage) -> None:
        """Hold a new leader against the rules, by what the model knows."""
        assert self.row.leader is not None, "AN_EPOCH_HAS_A_LEADER"
        leader = self.nodes[self.row.leader]
        for one in self.nodes.values():
            one.known = (0, 0)
        if self.row.lossy_epoch == self.row.leader_epoch:
            kept = zip(self.acked, leader.log, strict=False)
            self.acked = [ours for ours, theirs in kept if ours == theirs]
        elif leader.dirty:
            candidates = [self.nodes[node] for node in before.candidates]
            assert all(one.dirty for one in candidates), "UNCLEAN_LEADS_AS_NOBODY_IS_CLEAN"
            alone = len(candidates) == 1
            assert alone or all(one.told for one in candidates), "RECOVERY_WAITS_FOR_ALL"
        for one in self.nodes.values():
            one.told = False

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        """Whoever leads holds all that was acknowledged."""
        leader = self.nodes.get(self.row.leader or 0)
        if leader is None or not leader.alive:
            return
        broker = self.bench.image.brokers[self.row.leader or NodeId(0)]
        assert broker.standing in {Standing.RUNNING, Standing.STOPPING}
        assert leader.log[: len(self.acked)] == self.acked, "ACKED_IS_NEVER_LOST"

    def teardown(self) -> None:
        """The log alone brings a machine to the same image."""
        replayed = ControllerMachine({})
        for entry in self.bench.log:
            for record in decode(entry):
                replayed.replay(record)
        image, _ = replayed.freeze(Index(self.bench.index))
        assert image == self.bench.image, "REPLAY_IS_THE_STATE"


TestElections = Elections.TestCase
TestElections.settings = settings(stateful_step_count=40)
