"""Time, links, processes and users of the replication world, and what is checked in it."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Final

from cluster.replication.high_watermark import CommitRule
from logstore.settings import Flush
from model.ids import AppendTimeMs, LeaderEpoch, MonotonicMs, NodeId, Offset, RegistrationEpoch
from tests.sim.replication_controller import Controller
from tests.sim.replication_log import Record
from tests.sim.replication_node import RECORD_BYTES, ROOM_BYTES, Frame, Process

SESSION_MS: Final = 2_500
LAG_MS: Final = 2_500
RECONNECT_MS: Final = 50
EVENTS: Final = 120
HEALING_MS: Final = 12_000


class World:
    """Everything outside of the cores. The tape of choices is `random.Random(seed)` alone."""

    def __init__(self, seed: int, *, replicas: int = 3, min_insync_replicas: int = 2) -> None:
        self.choose = random.Random(seed)
        self.now = MonotonicMs(0)
        self.session_ms = SESSION_MS
        self.rule = CommitRule(
            flush=Flush.QUORUM, min_insync_replicas=min_insync_replicas, replica_lag_ms_max=LAG_MS
        )
        self.nodes = tuple(NodeId(number) for number in range(1, replicas + 1))
        self.coming: list[tuple[int, int, Callable[[], None]]] = []
        self.numbers = 0
        self.skew = {node: self.choose.randrange(-20_000, 20_000) for node in self.nodes}
        self.slow_disk: dict[NodeId, int] = {}
        self.slow_sync: dict[NodeId, int] = {}
        self.paused: dict[NodeId, MonotonicMs] = {}
        self.waiting: dict[NodeId, list[Callable[[], None]]] = {node: [] for node in self.nodes}
        self.cut_off: set[tuple[NodeId, NodeId]] = set()
        self.streams = {pair: 0 for pair in combinations(self.nodes, 2)}
        self.open_streams: set[tuple[NodeId, NodeId]] = set()
        self.latest: dict[tuple[NodeId, NodeId], int] = {}
        self.processes: dict[NodeId, Process] = {}
        self.disks: dict[NodeId, list[Record]] = {node: [] for node in self.nodes}
        self.log_starts = dict.fromkeys(self.nodes, Offset(0))
        self.floors = dict.fromkeys(self.nodes, AppendTimeMs(0))
        """What each node's disk has reserved of its append clock."""
        self.log_start = Offset(0)
        """The greatest that any leader had: nobody asks for what is below."""
        self.registrations = dict.fromkeys(self.nodes, RegistrationEpoch(0))
        self.committed_log: list[Record] = []
        self.shown = (LeaderEpoch(-1), Offset(0))
        self.closed_told: list[tuple[AppendTimeMs, Offset]] = []
        self.appended = self.acked = self.refused = self.unknown = 0
        self.happened: Counter[str] = Counter()
        self.trace: list[str] = []
        self.controller = Controller(self)
        for node in self.nodes:
            self.start(node)
        for pair in self.streams:
            self.connect(pair)

    # Time.

    def at(self, time_ms: int, call: Callable[[], None]) -> None:
        self.numbers += 1
        heapq.heappush(self.coming, (time_ms, self.numbers, call))

    def later(self, process: Process, delay_ms: int, call: Callable[[], None]) -> None:
        """Call in a process, unless it has ended by then; when it stands still, afterwards."""

        def run() -> None:
            if self.processes.get(process.me) is process:
                call()

        self.at(self.now + delay_ms, partial(self.reach, process.me, run))

    def reach(self, me: NodeId, call: Callable[[], None]) -> None:
        """Call in a process; while it stands still, things wait in the order in which they come."""
        waiting = self.waiting[me]
        if self.stands_still(me) or waiting:
            waiting.append(call)
            if len(waiting) == 1:
                self.at(self.paused[me], partial(self.go_on, me))
        else:
            call()

    def go_on(self, me: NodeId) -> None:
        if self.stands_still(me):
            self.at(self.paused[me], partial(self.go_on, me))
            return
        waiting, self.waiting[me] = self.waiting[me], []
        for call in waiting:
            call()

    def run_for(self, duration_ms: int) -> None:
        end = self.now + duration_ms
        while self.coming and self.coming[0][0] <= end:
            time_ms, _, call = heapq.heappop(self.coming)
            self.now = MonotonicMs(max(self.now, time_ms))
            call()
        self.now = MonotonicMs(end)

    def clock(self, node: NodeId) -> AppendTimeMs:
        return AppendTimeMs((1_000_000 + self.now + self.skew[node]) // 10 * 10)

    def disk_delay(self, node: NodeId) -> int:
        return self.choose.randrange(1, 5) + self.slow_disk.get(node, 0)

    def others(self, me: NodeId) -> list[NodeId]:
        return [node for node in self.nodes if node != me]

    # Links.

    def send(self, sender: NodeId, to: NodeId, frame: Frame) -> None:
        pair = (min(sender, to), max(sender, to))
        if pair not in self.open_streams or (sender, to) in self.cut_off:
            return
        due = max(self.latest.get((sender, to), 0), self.now + self.choose.randrange(1, 6))
        self.latest[sender, to] = due
        stream = self.streams[pair]

        def arrive() -> None:
            receiver = self.processes.get(to)
            if receiver is None or self.streams[pair] != stream:
                return
            self.trace.append(f"{self.now:6} {sender}>{to} {frame}")
            receiver.receive(sender, frame)

        self.at(due, partial(self.reach, to, arrive))

    def connect(self, pair: tuple[NodeId, NodeId]) -> None:
        """Try until both ends live and hear each other."""
        one, other = pair
        if pair in self.open_streams:
            return
        reachable = not {(one, other), (other, one)} & self.cut_off
        if reachable and one in self.processes and other in self.processes:
            self.open_streams.add(pair)
            for me, peer in ((one, other), (other, one)):
                process = self.processes[me]
                self.later(process, 0, partial(process.stream_ready, peer))
        else:
            self.at(self.now + RECONNECT_MS, partial(self.connect, pair))

    def reset(self, pair: tuple[NodeId, NodeId]) -> None:
        """Break a stream: what is on it is lost, and both ends notice."""
        self.streams[pair] += 1
        if pair in self.open_streams:
            self.open_streams.remove(pair)
            self.at(self.now + RECONNECT_MS, partial(self.connect, pair))
        for me, peer in (pair, pair[::-1]):
            process = self.processes.get(me)
            if process is not None:
                self.later(process, 0, partial(process.stream_lost, peer))

    def cut(self, sender: NodeId, to: NodeId) -> None:
        """Carry nothing this way; nobody notices but by silence."""
        self.cut_off.add((sender, to))

    def heal_links(self) -> None:
        cut, self.cut_off = self.cut_off, set()
        self.controller.cut_off.clear()
        for pair in self.streams:
            if cut & {pair, pair[::-1]}:
                self.reset(pair)

    # Processes.

    def start(self, me: NodeId) -> None:
        if me in self.processes:
            return
        self.registrations[me] = RegistrationEpoch(self.registrations[me] + 1)
        registration, log = self.registrations[me], list(self.disks[me])
        start = min(self.log_starts[me], Offset(len(log)))
        self.processes[me] = Process(self, me, registration=registration, log=log, log_start=start)
        self.controller.register(me, registration)

    def pause(self, me: NodeId, duration_ms: int) -> None:
        """Let a process stand still; what comes for it waits."""
        until = MonotonicMs(self.now + duration_ms)
        self.paused[me] = max(until, self.paused.get(me, until))

    def stands_still(self, me: NodeId) -> bool:
        return self.paused.get(me, self.now) > self.now

    def kill(self, me: NodeId) -> None:
        """The process ends; what it had written is there, though a power cut may still take it."""
        if me in self.processes:
            self._end(me, self.processes[me].os)

    def power_cut(self, *whose: NodeId) -> None:
        """All of them at once keep what was synced, and perhaps some that was only written."""
        for me in whose:
            if me in self.processes:
                process = self.processes[me]
                kept = process.os if self.choose.random() < 0.2 else process.disk
                self._end(me, kept)

    def _end(self, me: NodeId, disk: list[Record]) -> None:
        self.disks[me] = list(disk)
        ended = self.processes.pop(me)
        registration, self.log_starts[me] = ended.registration, ended.log_start
        self.floors[me] = ended.floor
        self.paused[me] = self.now
        for pair in self.streams:
            if me in pair:
                self.reset(pair)
        self.controller.gone(me, registration)
        self.check(f"{me} ends with {len(disk)}")

    # What users see.

    def produce(self, at: NodeId | None = None) -> bool:
        """Append at whoever believes to lead, or at this node; False: refused."""
        leaders = [one for one in self.processes.values() if one.leader is not None]
        leaders = [one for one in leaders if at in {None, one.me}]
        leaders = [one for one in leaders if not self.stands_still(one.me)]
        if not leaders:
            return False
        self.appended += 1
        taken = self.choose.choice(leaders).append(self.appended)
        self.refused += not taken
        return taken

    def acknowledged(self, number: int) -> None:
        self.acked += 1
        assert any(record.number == number for record in self.committed_log), "ACKED_IS_COMMITTED"

    def committed(self, process: Process, mark: Offset) -> None:
        """A leader's mark has passed these records."""
        log, before = process.log[:mark], len(self.committed_log)
        holding = [node for node in self.nodes if self.holds(self.disk_of(node), log)]
        assert len(holding) >= self.rule.min_insync_replicas, "ACKED_IS_FLUSHED"
        count = min(before, mark)
        assert self.holds(log, self.committed_log[:count]), "COMMITTED_IS_FOREVER"
        for offset in range(before, mark):
            time = log[offset].append_time
            late = [told for told, end in self.closed_told if end <= offset and time < told]
            assert not late, "CLOSED_TIME_HOLDS"
        if mark > before:
            self.committed_log += log[before:]
        self.show(process)
        self.check(f"{process.me} commits {mark}")

    def began(self, process: Process) -> None:
        self.happened[f"led in epoch {min(process.leader_epoch, 4)}"] += 1
        self.show(process)
        self.check(f"{process.me} leads in epoch {process.leader_epoch} from {len(process.log)}")

    def show(self, process: Process) -> None:
        assert process.leader is not None
        mark = process.leader.high_watermark
        if mark is not None and process.leader_epoch >= self.shown[0]:
            assert mark >= self.shown[1], "SHOWN_MARK_NEVER_FALLS"
            self.shown = (process.leader_epoch, mark)

    def closed(self, process: Process, time: AppendTimeMs) -> None:
        assert process.leader is not None
        mark = process.leader.high_watermark
        if mark is None:
            return
        missing = [one for one in self.committed_log[mark:] if one.append_time < time]
        assert not missing, "CLOSED_TIME_HOLDS"
        if not self.closed_told or time > self.closed_told[-1][0]:
            self.closed_told.append((time, mark))
            self.happened["closed"] += 1

    def deleted(self, log_start: Offset) -> None:
        self.log_start = max(self.log_start, log_start)

    def holds(self, log: list[Record], committed: list[Record]) -> bool:
        """Tell whether a log has all of these that were not deleted."""
        start, end = self.log_start, len(committed)
        return len(log) >= end and log[start:end] == committed[start:]

    def disk_of(self, node: NodeId) -> list[Record]:
        return self.processes[node].disk if node in self.processes else self.disks[node]

    def check(self, happened: str = "") -> None:
        """Hold what must always hold against the true state, which no core sees."""
        if happened:
            self.trace.append(f"{self.now:6} {happened}")
        committed, row = self.committed_log, self.controller.row
        kept = [node for node in row.candidates if self.holds(self.disk_of(node), committed)]
        assert kept or not committed, "POWER_CUT_LOSES_NOTHING"
        for node in row.candidates:
            process = self.processes.get(node)
            if process is not None and process.registration == self.controller.registered[node]:
                if node not in row.marked:
                    written = process.log[: process.written]
                    assert self.holds(written, committed), "ELECTABLE_HOLDS_COMMITTED"
        leader = self.processes.get(row.leader) if row.leader is not None else None
        if leader is not None and leader.leader_epoch == row.leader_epoch:
            assert self.holds(leader.log, committed), "COMMITTED_IS_FOREVER"
        for process in self.processes.values():
            for sender in process.senders.values():
                assert sender.room_bytes > -RECORD_BYTES, "ROOM_IS_KEPT"
                assert sender.room_bytes <= ROOM_BYTES, "ROOM_IS_KEPT"

    # A run.

    def run(self, events: int = EVENTS) -> None:
        """Faults for that many events; then heal, and demand progress.

        Every seed has its own mix of what is frequent and what is rare: one mix for all would never
        see the rare combinations.
        """
        calm, rough = self._calm(), self._rough()
        weights = [self.choose.choice((1, 3, 10)) for _ in calm]
        weights += [self.choose.choice((0, 0, 1, 2)) for _ in rough]
        for happen in self.choose.choices([*calm, *rough], weights, k=events):
            happen()
            self.run_for(self.choose.choice((1, 5, 20, 100)))
        self.heal()

    def _calm(self) -> list[Callable[[], object]]:
        def burst() -> None:
            for _ in range(self.choose.randrange(2, 12)):
                self.produce()

        def delete_records() -> None:
            for process in list(self.processes.values()):
                if not self.stands_still(process.me) and self.choose.random() < 0.3:
                    process.delete_records()

        restart = [partial(self.start, node) for node in self.nodes]
        wait = partial(self.run_for, 500)
        return [self.produce, burst, self.heal_links, wait, delete_records, *restart]

    def _rough(self) -> list[Callable[[], object]]:
        def pause(node: NodeId) -> None:
            self.pause(node, self.choose.choice((50, 500, 4_000)))

        def slow(node: NodeId) -> None:
            which = self.choose.choice((self.slow_disk, self.slow_sync))
            which[node] = self.choose.choice((0, 20, 300, 3_000))

        rough: list[Callable[[], object]] = [partial(self.run_for, 3_000)]
        rough += [partial(self.power_cut, *self.nodes)]
        for node in self.nodes:
            rough += [partial(self.kill, node), partial(self.power_cut, node)]
            rough += [partial(pause, node), partial(slow, node)]
            rough += [partial(self.controller.cut_off.add, node)]
        for pair in self.streams:
            rough += [partial(self.reset, pair), partial(self.cut, *pair)]
            rough += [partial(self.cut, *pair[::-1])]
        return rough

    def heal(self) -> None:
        self.heal_links()
        self.slow_disk.clear()
        self.slow_sync.clear()
        for node in self.nodes:
            self.start(node)
        self.run_for(HEALING_MS)
        before = len(self.committed_log)
        assert self.produce(self.controller.row.leader), "PROGRESS_AFTER_HEALING"
        self.run_for(2_000)
        assert len(self.committed_log) > before, "PROGRESS_AFTER_HEALING"
        assert set(self.controller.row.isr) == set(self.nodes), "PROGRESS_AFTER_HEALING"
        self.compare()

    def compare(self) -> None:
        """See that every disk holds what is committed, and nothing else."""
        for node in self.nodes:
            disk = self.disk_of(node)
            assert len(disk) == len(self.committed_log), "REPLICAS_ARE_EQUAL"
            assert self.holds(disk, self.committed_log), "REPLICAS_ARE_EQUAL"
