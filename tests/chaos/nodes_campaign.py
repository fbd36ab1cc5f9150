"""A campaign: nodes, clients, strikes one after the other, and the judgement at the end."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from tests.chaos.check import check
from tests.chaos.history import Exited, Fault, Healed, History, HistoryError, Killed, now_us
from tests.chaos.history_reading import read_in_order
from tests.chaos.nodes_acks import Acks
from tests.chaos.nodes_crowd import READERS, WRITERS, ClientDied, Crowd
from tests.chaos.nodes_drain import drained, ends, read_all, read_on, wait_for_group
from tests.chaos.nodes_fate import fate_of
from tests.chaos.nodes_outcome import Outcome, Row
from tests.chaos.nodes_plan import (
    BACK_S_MAX,
    GROUP,
    PARTITIONS,
    READS_ALL,
    REPLICAS,
    RUN,
    TOPIC,
    Kind,
)
from tests.chaos.nodes_replicas import compare, dumped, verify
from tests.chaos.nodes_strikes import DEEDS, Blow, Strike, strikes
from tests.chaos.nodes_watch import NotBack, Watch
from tests.chaos.nodes_world import Ended, World
from tests.kill.node_process import NodeFailed
from tidelog.errors import TidelogError
from tidelog.sync import Client, connect

BROKEN: Final = (NotBack, ClientDied, NodeFailed, TidelogError, KafkaException, HistoryError)
"""Ends a campaign early; what there is by then is judged."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done."""

    counts: Mapping[Kind, int]
    seed: int
    pause_s: float = 20.0
    rate: float = 5.0
    """Records a second of each producer in each partition."""
    environment: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """Of nodes."""
    liars: frozenset[int] = frozenset()
    """Nodes whose disks do not keep their word: damage of their files is no surprise."""
    dump: bool = False
    """Whether Apache's tool reads the files of all nodes in the end."""
    lossy: bool = False
    """Disks lie in such numbers that records must be lost: what is then left of the cluster need
    not become whole."""

    @property
    def has_network(self) -> bool:
        """Whether each node needs a network of its own."""
        return bool(self.counts.get(Kind.CUTS))

    @property
    def has_volumes(self) -> bool:
        """Whether each node needs a disk of its own."""
        return bool(self.counts.get(Kind.POWER_CUTS))

    @property
    def needs_own_machine(self) -> bool:
        """Whether there are mounts or networks to be made."""
        return self.has_network or self.has_volumes


class Scene(NamedTuple):
    """Everything that there is while nodes run."""

    world: World
    crowd: Crowd
    client: Client
    watch: Watch
    history: History
    """The run's own."""


class Campaign:
    """See the module."""

    def __init__(self, plan: Plan, folder: Path, *, say: Callable[[str], None]) -> None:
        """Begin in a folder that is empty."""
        self._plan = plan
        self._folder = folder
        self._say = say
        self.outcome = Outcome(plan.seed)

    def run(self) -> Outcome:
        """Run all of it; everything that was made for it is put back, however it ends."""
        began = monotonic()
        world = World(
            self._folder,
            has_network=self._plan.has_network,
            has_volumes=self._plan.has_volumes,
            environment=self._plan.environment,
            liars=self._plan.liars,
        )
        with world:
            try:
                world.start()
                self._in_world(world)
            except NodeFailed as failed:
                self._problem(str(failed))
        self.outcome.seconds = monotonic() - began
        return self.outcome

    def _in_world(self, world: World) -> None:
        crowd = Crowd(self._folder, {"sdk": world.url(), "kafka": world.kafka()}, self._plan.rate)
        history = History(crowd.histories, RUN)
        try:
            with connect(world.url(), client_id=RUN) as client:
                watch = Watch(client, crowd, Acks(crowd.histories))
                wanted = self._strike(Scene(world, crowd, client, watch, history))
        finally:
            crowd.close()
            self.outcome.notes += crowd.all_words()
        self._stop(world, history)
        history.close()
        self._judge(crowd.histories)
        if wanted is not None:
            self._compare(world, *wanted)

    def _strike(self, scene: Scene) -> tuple[str, dict[int, int]] | None:
        """Do everything that needs running nodes.

        Returns the topic's id and where its partitions end; None: it did not come so far.
        """
        world, crowd, watch = scene.world, scene.crowd, scene.watch
        try:
            scene.client.topics.create(TOPIC, partitions=PARTITIONS, replicas=REPLICAS)
            crowd.start(READERS)
            crowd.start(WRITERS)
            watch.writes_back("at first")
            watch.healed("after the start")
            for volume in world.volumes.values():
                volume.sync()  # a run without syncs loses records, not the topic
            if world.volumes:
                watch.writes_back("since all was on the disks")  # that is what it loses
            for strike in strikes(self._plan.counts, self._plan.seed, pause_s=self._plan.pause_s):
                self._one(strike, scene)
            return self._drain(scene)
        except BROKEN as broken:
            self._problem(f"{type(broken).__name__}: {broken}")
            if dead := world.dead():
                self._problem(f"nodes {dead} do not run: {_words(world, dead)}")
            self._read_what_is_there(scene)
            return None

    def _read_what_is_there(self, scene: Scene) -> None:
        """Read all of it after a campaign that was broken off: what is missing is to be told."""
        scene.crowd.close()
        try:
            if not self._plan.lossy:  # a deposed leader shows what it has
                scene.watch.healed("after it was broken off")
            wanted = ends(scene.world.kafka())
            reader = History(scene.crowd.histories, READS_ALL)
            behind = read_on(scene.world.kafka(), reader, wanted)
            reader.close()
        except BROKEN as broken:
            self._problem(f"nor can it be read: {type(broken).__name__}: {broken}")
            return
        if behind:
            self._problem(f"nor can all be read: it is at, and should come to, {behind}")
        for event in drained({n: end for n, end in wanted.items() if n not in behind}):
            scene.history.note(event)

    def _one(self, strike: Strike, scene: Scene) -> None:
        """Strike once, and wait until everything is as it was before."""
        world, watch, history = scene.world, scene.watch, scene.history
        ends_before = len(world.ends)
        history.note(Fault(now_us(), what=f"{strike.kind}: {strike}"))
        for number in (1, 2, 3):
            history.note(Killed(now_us(), who=f"node-{number}"))
        began = monotonic()
        try:
            blow = DEEDS[strike.kind](world, strike, watch)
        except NotBack as late:  # what was broken is mended: it may go on
            self._problem(str(late))
            blow = Blow(str(late), monotonic())
        self._note_ends(world, history, ends_before)
        history.note(Healed(now_us()))
        watch.writes_back(f"after: {blow.what}")
        taken_s = monotonic() - blow.mended_s
        last = "" if self._plan.lossy else watch.healed(f"after: {blow.what}")
        healed_s = monotonic() - blow.mended_s
        silence = watch.silence(began if blow.counts_from_s is None else blow.counts_from_s)
        where = f"{silence.lane.at} by {silence.lane.door}"
        row = Row(strike.kind, blow.what, silence.seconds, where, healed_s)
        self.outcome.rows.append(row)
        self._say(
            f"{len(self.outcome.rows):>4} {strike.kind:<11} {blow.what}: silent for "
            f"{row.silence_s:.2f} s ({where}), takes new records after {taken_s:.1f} s, all in "
            f"sync after {healed_s:.1f} s"
            f"{f' (last: {last[:200]})' if last else ''}"
        )
        if row.silence_s > BACK_S_MAX[strike.kind]:
            limit, load = BACK_S_MAX[strike.kind], os.getloadavg()[0]
            self._problem(
                f"{blow.what}: silent for {row.silence_s:.2f} s ({where}), limit {limit}; load of "
                f"the machine {load:.1f}"
            )
        if dead := world.dead():
            raise NodeFailed(f"nodes {dead} have ended by themselves: {_words(world, dead)}")

    def _drain(self, scene: Scene) -> tuple[str, dict[int, int]]:
        """Have everything read, by all."""
        crowd, watch = scene.crowd, scene.watch
        crowd.end(WRITERS)
        wanted = ends(scene.world.kafka())
        self._say(f"{sum(wanted.values()):,} records; they are read to the end")
        wait_for_group(scene.client, wanted)
        crowd.end(READERS)
        reader = History(crowd.histories, READS_ALL)
        read_all(scene.world.kafka(), reader, wanted)
        reader.close()
        for event in drained(wanted, GROUP):
            scene.history.note(event)
        return watch.topic().topic_id.hex, wanted

    def _stop(self, world: World, history: History) -> None:
        before = len(world.ends)
        world.stop()
        self._note_ends(world, history, before)
        for ended in world.ends[before:]:
            if ended.code:
                self._problem(f"node {ended.node} stopped with exit code {ended.code}")

    def _note_ends(self, world: World, history: History, first: int) -> None:
        """Write down how nodes ended."""
        self._harm(world.ends[first:])
        for number, code, odd, _ in world.ends[first:]:
            shows = any("Traceback" in line for line in odd)
            event = Exited(now_us(), who=f"node-{number}", code=code, traceback=shows)
            history.note(event)
            if shows:
                self._problem(f"node {number} printed: {' | '.join(odd)[:800]}")

    def _harm(self, ended: Sequence[Ended]) -> None:
        """Tell of damage, unless it is of a disk that lies: nobody has harmed the files."""
        for one in ended:
            if one.damage and one.node not in self._plan.liars:
                first = f"{len(one.damage)} damaged places: {one.damage[0][:400]}"
                self.outcome.harmed.append(f"node {one.node}: {first}")
                self._problem(self.outcome.harmed[-1])

    def _judge(self, histories: Path) -> None:
        try:
            report = check(read_in_order(histories))
        except HistoryError as broken:
            self._problem(f"the history contradicts itself: {broken}")
            return
        self.outcome.counts = dict(report.counts)
        self.outcome.fate = fate_of(read_in_order(histories))
        for anomaly in report.anomalies:
            self._problem(f"ANOMALY: {anomaly}")

    def _compare(self, world: World, topic: str, wanted: Mapping[int, int]) -> None:
        compared = compare({n: world.directory(n) for n in world.nodes}, topic, wanted)
        self.outcome.batches, self.outcome.anew = compared.batches, compared.anew
        for problem in compared.problems:
            self._problem(problem)
        for number in world.nodes:
            for problem in verify(world.directory(number)):
                self._problem(f"node {number}: {problem}")
            if self._plan.dump:
                self._dump(number, world.directory(number), sum(wanted.values()))

    def _dump(self, number: int, directory: Path, records: int) -> None:
        """Let Apache's tool read what a node has; that is at least the records of the topic."""
        found = dumped(directory)
        self.outcome.dumped += found.records
        for problem in found.wrong:
            self._problem(f"node {number}: kafka-dump-log: {problem}")
        if found.records < records:
            self._problem(f"node {number}: kafka-dump-log: {found.records} records, not {records}")

    def _problem(self, text: str) -> None:
        self.outcome.problems.append(text)
        self._say(f"PROBLEM: {text[:1_000]}")


def _words(world: World, numbers: list[int]) -> str:
    return " / ".join(world.nodes[number].last_words()[-800:] for number in numbers)
