"""The controller of the replication world: one row, sessions, and the real rule of elections.

It never fails: a quorum has a simulation of its own. What it is told, and what it says, takes time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cluster.controller import election
from cluster.controller.image import LogEnd, PartitionImage, Unclean
from cluster.peer.replica import NO_EPOCH
from cluster.replication.events import Assignment, ProposeIsr
from model.ids import LeaderEpoch, MonotonicMs, NodeId, Offset, RegistrationEpoch

if TYPE_CHECKING:
    from tests.sim.replication_node import Process
    from tests.sim.replication_world import World

LOOK_MS: Final = 100
RESET_PROOF_MS: Final = 300
"""A reset connection, and nobody there for as long: proof enough that a process has ended."""


class Controller:
    """Follows who lives, decides who leads."""

    def __init__(self, world: World) -> None:
        self.world = world
        nodes = world.nodes
        self.row = PartitionImage(0, nodes[0], LeaderEpoch(1), nodes, nodes, partition_epoch=1)
        self.registered = dict.fromkeys(nodes, RegistrationEpoch(0))
        self.heard = dict.fromkeys(nodes, world.now)
        self.up = set(nodes)
        self.cut_off: set[NodeId] = set()
        """Whom it neither hears nor reaches."""
        self.told: dict[NodeId, int] = {}
        world.at(LOOK_MS, self.look)

    def delay(self) -> int:
        return self.world.choose.randrange(1, 15)

    def decide(self, row: PartitionImage) -> None:
        """Settle a changed row, and tell everybody."""
        up = frozenset(self.up)
        after = election.settled(
            row, election.Roster(up, frozenset(), up), self.world.rule.min_insync_replicas
        )
        if after == self.row:
            return
        if after.leader is not None and after.leader_epoch > self.row.leader_epoch:
            how = "recovery" if after.leader in self.row.marked else "ISR"
            how = "ELR" if how == "ISR" and after.leader not in self.row.isr else how
            self.world.happened[f"elected from {how}"] += 1
        self.row = after._replace(partition_epoch=self.row.partition_epoch + 1)
        self.world.check(f"row {self.row}")
        for process in self.world.processes.values():
            self.tell(process)

    def tell(self, process: Process) -> None:
        """Bring the row to a node, never an older one after a newer one."""
        row, me = self.row, process.me
        if me in self.cut_off:
            self.world.later(process, LOOK_MS, lambda: self.tell(process))
            return
        due = max(self.told.get(me, 0), self.world.now + self.delay())
        self.told[me] = due

        def learn() -> None:
            process.learn(
                Assignment(
                    row.leader,
                    row.leader_epoch,
                    row.lossy_epoch,
                    row.replicas,
                    frozenset(row.isr),
                    row.partition_epoch,
                    bool(row.unclean or row.lost),
                )
            )
            if row.leader is None and me in row.marked and not process.cut:
                self.recovered(process, row)

        self.world.later(process, due - self.world.now, learn)

    def recovered(self, process: Process, asked: PartitionImage) -> None:
        """A candidate says how far its log goes."""
        log, me = process.log, process.me
        end = LogEnd(log[-1].epoch if log else NO_EPOCH, Offset(len(log)))
        registration = process.registration

        def arrive() -> None:
            row = self.row
            current = self.registered[me] == registration and row.leader is None
            if current and row.leader_epoch == asked.leader_epoch and me in row.marked:
                marks = tuple(Unclean(me, end) if one.node == me else one for one in row.unclean)
                self.decide(row._replace(unclean=marks))

        self.world.at(self.world.now + self.delay(), arrive)

    # Sessions.

    def register(self, me: NodeId, registration: RegistrationEpoch) -> None:
        self.registered[me] = registration
        self.heard[me] = self.world.now
        self.up.add(me)
        first = registration == 1
        self.decide(self.row if first else election.restarted_unclean(self.row, me))
        self.tell(self.world.processes[me])

    def heartbeat(self, process: Process) -> None:
        if process.me in self.cut_off:
            return
        sent = self.world.now

        def arrive() -> None:
            if self.registered[process.me] != process.registration:
                return
            self.heard[process.me] = self.world.now
            if process.me not in self.up:
                self.up.add(process.me)
                self.decide(self.row)
            self.world.later(process, self.delay(), answered)

        def answered() -> None:
            process.session_at = sent

        self.world.at(self.world.now + self.delay(), arrive)

    def gone(self, me: NodeId, registration: RegistrationEpoch) -> None:
        """A process has ended, and its connections with it."""

        def proved() -> None:
            if self.registered[me] == registration and me not in self.world.processes:
                self.fence(me)

        self.world.at(self.world.now + RESET_PROOF_MS, proved)

    def look(self) -> None:
        for me in self.world.nodes:
            if me in self.up and self.heard[me] < self.world.now - self.world.session_ms:
                self.fence(me)
        self.world.at(self.world.now + LOOK_MS, self.look)

    def fence(self, me: NodeId) -> None:
        self.up.discard(me)
        self.decide(self.row)

    # What a leader asks for.

    def propose(self, process: Process, proposal: ProposeIsr) -> None:
        me, leader_epoch = process.me, process.leader_epoch

        def arrive() -> None:
            row = self.row
            if (row.leader, row.leader_epoch) != (me, leader_epoch):
                return
            if row.partition_epoch == proposal.based_on and self.may_join(proposal):
                members = {me, *proposal.followers}
                self.decide(election.altered(row, members, self.world.rule.min_insync_replicas))
            else:
                refuse = self.world.later
                refuse(process, self.delay(), lambda: process.refused(proposal.based_on))

        self._send(process, arrive)

    def may_join(self, proposal: ProposeIsr) -> bool:
        registered = self.registered
        return all(
            node in self.up
            and (node in self.row.isr if registration is None else registered[node] == registration)
            for node, registration in proposal.followers.items()
        )

    def answer_for(self, process: Process, partition_epoch: int) -> None:
        def arrive() -> None:
            if (self.row.leader, self.row.partition_epoch) == (process.me, partition_epoch):
                self.decide(election.answered_for(self.row))

        self._send(process, arrive)

    def _send(self, process: Process, arrive: Callable[[], None]) -> None:
        """A request reaches the controller when the node does; the shell sees to that."""
        if process.me in self.cut_off:
            self.world.later(process, LOOK_MS, lambda: self._send(process, arrive))
        else:
            self.world.at(MonotonicMs(self.world.now + self.delay()), arrive)
