"""The story of three containers: `python -m tests.cluster.compose_story [--short] [ROW...]`.

compose.yaml is started on whatever engine `docker` reaches, and then gets what users and accidents
do to it, each row under the load of an idempotent producer with acks=all. After each row all
replicas must be in sync again by themselves, everything that was acknowledged must be readable,
once and in its order. Each row prints its figures. Exit code 0: all held; 1: something did not;
4: all held, but not within its time, as on a machine that is busy; 5: there is no engine, nothing
was tried.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from threading import Event
from time import monotonic
from typing import Final

from confluent_kafka import KafkaException

from tests.cluster import compose_engine as engine
from tests.cluster.compose_clients import (
    INSIDE,
    NODES,
    OUTSIDE,
    PARTITIONS,
    SERVERS,
    client_sees,
    cluster_info,
    on_host,
    sent_to,
    service,
)
from tests.cluster.judge import faults
from tests.cluster.loads import Load
from tests.cluster.readers import read_back
from tests.cluster.telling import say
from tests.cluster.topics import TOPIC, in_sync, leader
from tests.cluster.waiting import PATIENCE_S, Broken, NotInTime, until

RECORDS: Final = 100
"""Acknowledged by each partition before and after each blow."""
QUIET: Final = "quiet"
"""A topic that the load does not write to: its last record is the one that was just sent."""
READY_S_MAX: Final = 15.0
"""Until three nodes are healthy and a topic of three replicas is in sync."""
KILL_S_MAX: Final = 5.0
GONE_S_MAX: Final = 10.0
"""Without an acknowledgement, where a node is still there but cannot be heard, or all were gone."""
PAUSE_S: Final = 20.0
LATE: Final = 4
NO_ENGINE: Final = 5


class TooLate(Broken):
    """It holds, but not within its time."""


def _create(topic: str) -> tuple[str, ...]:
    return ("topic", "create", topic, "-p", str(PARTITIONS), "--if-not-exists")


class ComposeStory:
    """See the module."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Begin with nothing."""
        self.load = Load(SERVERS, partitions=PARTITIONS)
        self.late: list[str] = []
        """Rows that held, but not within their time."""
        self._started = False
        self._say = say
        self.rows: dict[str, Callable[[], str]] = {
            "grpc": self.grpc,
            "kafka": self.kafka,
            "kill": self.kill,
            "kill-controller": self.kill_controller,
            "restart": self.restart,
            "pause": self.pause,
            "cut": self.cut,
            "one-left": self.one_left,
            "all-killed": self.all_killed,
            "wiped": self.wiped,
        }

    def start(self) -> str:
        """Three nodes from nothing, and a topic that is replicated: nobody does anything."""
        began = monotonic()
        engine.compose("up", "-d", "--wait", "--wait-timeout", "60", "--no-build")
        healthy_s = monotonic() - began
        self._done(lambda: engine.tidelog_in(service(1), *_create(TOPIC)), "a topic")
        in_sync(SERVERS, "at first")
        ready_s = monotonic() - began
        self._started = True
        if ready_s > READY_S_MAX:
            raise TooLate(
                f"three healthy nodes {healthy_s:.1f} s, a replicated topic {ready_s:.1f} s, "
                f"at most {READY_S_MAX:.0f} s"
            )
        return f"three healthy nodes {healthy_s:.1f} s, a replicated topic {ready_s:.1f} s"

    def grpc(self) -> str:
        """Any address of any node serves any call, from the host and from other containers."""
        states = {row["node"]: row["state"] for row in cluster_info(3)}
        if states != dict.fromkeys(NODES, "running"):
            raise Broken(f"cluster info says {states}")
        self._done(lambda: engine.tidelog_in(service(1), *_create(QUIET)), "a quiet topic")
        tried = 0
        for partition in range(PARTITIONS):
            for number in NODES:  # one of them leads
                value = f"{tried}"
                tried += 1
                produce = ("produce", QUIET, "-p", str(partition), "-v", value)
                consume = ("consume", QUIET, "-p", str(partition), "-o", "-1", "--no-follow")
                if tried % 2:
                    on_host(number, *produce)
                    found = engine.tidelog_beside(f"{service(number)}:9095", *consume, "-f", "%v")
                else:
                    engine.tidelog_beside(f"{service(number)}:9095", *produce)
                    found = on_host(number, *consume, "-f", "%v")
                if found != value:
                    raise Broken(f"partition {partition} by node {number}: {found!r}, not {value}")
        return f"{tried} records through every node, whoever leads, each read from the other side"

    def kafka(self) -> str:
        """Each client is told addresses where it can go: on the host, and in a container."""
        brokers = client_sees(SERVERS)
        if brokers != OUTSIDE:
            raise Broken(f"clients on the host are told {brokers}, not {OUTSIDE}")
        for number in NODES:  # each node by itself tells of all three
            listed = engine.kcat_beside("-b", INSIDE[number], "-L")
            told = [f"broker {n} at {at}" for n, at in INSIDE.items()]
            if any(one not in listed for one in told):
                raise Broken(f"clients in containers are told:\n{listed}")
        self._done(lambda: engine.tidelog_in(service(1), *_create(QUIET)), "a quiet topic")
        for partition in range(PARTITIONS):
            value = f"{1_000 + partition}"
            to = ("-t", QUIET, "-p", str(partition), "-b", INSIDE[1 + partition])
            engine.kcat_beside("-P", *to, "-X", "acks=all", stdin=value)
            got = engine.kcat_beside("-C", *to, "-o", "-1", "-c", "1", "-e", "-q").strip()
            if got != value:
                raise Broken(f"partition {partition}: a container reads {got!r}, not {value}")
        return "three addresses told on either side, records from a container to each partition"

    def kill(self) -> str:
        """A leader is killed; others lead, and it comes back."""
        return self._kill(leader(SERVERS, 0))

    def kill_controller(self) -> str:
        """The node that leads the quorum is killed."""
        return self._kill(self._controller())

    def restart(self) -> str:
        """Each node in turn is stopped in order and started again: no client sees an error."""
        before, longest_s = len(self.load.refused), 0.0
        for number in NODES:
            engine.compose("stop", service(number))
            code = engine.docker(
                "inspect", "-f", "{{.State.ExitCode}}", engine.container(service(number))
            ).strip()
            if code != "0":
                raise Broken(f"node {number} stopped with exit code {code}")
            self._back(number)
            longest_s = max(longest_s, self._goes_on(KILL_S_MAX, f"after {number} was stopped"))
            in_sync(SERVERS, f"after {number} was started")
        if len(self.load.refused) > before:
            raise Broken(f"clients saw errors: {self.load.refused[before:][:3]}")
        return f"longest pause {longest_s:.2f} s, no error"

    def pause(self) -> str:
        """A leader stands still for 20 s, as a whole, and goes on."""
        victim = leader(SERVERS, 1)
        engine.compose("pause", service(victim))
        try:
            began = monotonic()
            pause_s = self._goes_on(GONE_S_MAX, f"while {victim} stands still")
            Event().wait(max(0.0, PAUSE_S - (monotonic() - began)))
        finally:
            engine.compose("unpause", service(victim))
        return self._healed(f"longest pause {pause_s:.2f} s", f"after {victim} went on")

    def cut(self) -> str:
        """A leader is cut off from the network, and is there again."""
        victim = leader(SERVERS, 2)
        cut_off = engine.container(service(victim))
        engine.docker("network", "disconnect", engine.NETWORK, cut_off)
        try:
            pause_s = self._goes_on(GONE_S_MAX, f"while {victim} is cut off")
        finally:
            engine.docker("network", "connect", "--alias", service(victim), engine.NETWORK, cut_off)
        return self._healed(f"longest pause {pause_s:.2f} s", f"after {victim} is back")

    def one_left(self) -> str:
        """Two of three are killed: nothing is acknowledged, what is there is read; one returns."""
        self.load.stop()
        self._judge()
        left = leader(SERVERS, 0)
        first, second = (number for number in NODES if number != left)
        engine.compose("kill", service(first), service(second))
        told = sent_to(OUTSIDE[left])
        if any(why is None for why in told):
            raise Broken("one node of three has acknowledged a record")
        if wrong := faults(self.load.acknowledged, read_back(OUTSIDE[left], [0])):
            raise Broken(f"read from the node that is left: {wrong[0]}")
        self._back(first)
        began = monotonic()
        self.load.start()
        self._goes_on(PATIENCE_S, "after one of two has returned")
        resumed_s = monotonic() - began
        self._back(second)
        return self._healed(f"writes again {resumed_s:.1f} s after one of two returned", "then")

    def all_killed(self) -> str:
        """All three are killed at once, and started: nobody has to do anything else."""
        engine.compose("kill")
        engine.compose("start")
        began = monotonic()
        pause_s = self._goes_on(PATIENCE_S, "after the end of all")
        took_s = monotonic() - began
        if took_s > GONE_S_MAX:
            raise TooLate(f"writes only {took_s:.1f} s after the start, at most {GONE_S_MAX:.0f} s")
        return self._healed(
            f"writes {took_s:.1f} s after the start, longest pause {pause_s:.1f} s", "then"
        )

    def wiped(self) -> str:
        """One node loses its volume, and starts with nothing: it is filled again."""
        victim = leader(SERVERS, 0)
        engine.compose("rm", "--stop", "--force", service(victim))
        engine.docker("volume", "rm", f"{engine.PROJECT}_{service(victim)}")
        engine.compose("up", "-d", "--no-build", service(victim))
        pause_s = self._goes_on(KILL_S_MAX, f"after {victim} has lost everything")
        return self._healed(f"longest pause {pause_s:.2f} s", f"after {victim} began anew")

    def tell(self, names: Sequence[str]) -> list[str]:
        """Tell rows by name, the start first; return the names of those that did not hold.

        Without three nodes and a topic there is no story: then all the others did not hold either.
        """
        broken = [] if self._row("start", self.start) else ["start"]
        if broken and not self._started:
            return [*broken, *names]
        for name in names:
            self.load.start()
            held = self._row(name, self.rows[name])
            self.load.stop()
            if not held:
                broken.append(name)
                self.load.forgive()
                if not self._row("(mended)", self._mended):
                    return [*broken, *names[names.index(name) + 1 :]]
        return broken

    def _mended(self) -> str:
        """After a row that did not hold: start what does not run, for the next one."""
        engine.compose("up", "-d", "--no-build")
        return self._healed("all three run", "then")

    def _row(self, name: str, row: Callable[[], str]) -> bool:
        """Tell one row, and judge what is left; tell whether all of it held."""
        try:
            if self.load.running:
                self.load.more(RECORDS, "before")
            figures = row()
            self.load.stop()
            figures += f"; {self._judge()}" if self.load.count else ""
        except (TooLate, Broken, KafkaException, engine.EngineFailed) as wrong:
            # On a machine that does nothing else nothing else has made it late.
            is_late = isinstance(wrong, TooLate) and os.getloadavg()[0] >= (os.cpu_count() or 1)
            what = "LATE  " if is_late else "FAILED"
            self._say(f"{name:16} {what}  {type(wrong).__name__}: {wrong} {busy()}")
            if is_late:
                self.late.append(name)
                return self._row(name, self._mended)
            self._say_last_words()
            return False
        self._say(f"{name:16} held    {figures} {busy()}")
        return True

    def _judge(self) -> str:
        """Read everything back."""
        read = read_back(SERVERS, range(PARTITIONS))
        wrong = faults(self.load.acknowledged, read)
        if self.load.refused:
            wrong.append(f"not acknowledged: {self.load.refused[:3]}")
        if wrong:
            raise Broken("; ".join(wrong))
        return f"{self.load.count} acknowledged, {sum(map(len, read.values()))} read"

    def _kill(self, victim: int) -> str:
        engine.compose("kill", service(victim))
        pause_s = self._goes_on(KILL_S_MAX, f"after {victim} was killed")
        self._back(victim)
        return self._healed(f"longest pause {pause_s:.2f} s", f"after {victim} was started")

    def _back(self, number: int) -> None:
        engine.compose("up", "-d", "--wait", "--no-build", service(number))

    def _goes_on(self, seconds_max: float, where: str) -> float:
        """Return the longest pause; it may have been so long at most."""
        pause_s = self.load.more(RECORDS, where)
        if pause_s > seconds_max:
            raise TooLate(f"{where}: no answer for {pause_s:.1f} s, at most {seconds_max:.0f} s")
        return pause_s

    def _healed(self, figures: str, where: str) -> str:
        in_sync_s = in_sync(SERVERS, where)
        self._healthy(where)
        return f"{figures}; in sync after {in_sync_s:.1f} s"

    def _healthy(self, where: str) -> None:
        """Wait until the engine calls all three healthy.

        It calls a paused container unhealthy, and one that goes on until it has been asked next.
        """

        def look() -> bool:
            return set(engine.states().values()) == {"healthy"}

        until(look, f"{where}: three healthy containers")

    def _controller(self) -> int:
        for row in cluster_info(1):
            if row["controller"]:
                return int(row["node"])
        raise Broken("no node leads the quorum")

    def _done(self, do: Callable[[], object], what: str) -> None:
        """Do something, and again while it is refused: the first time may be too early."""
        refused = ""

        def look() -> bool:
            nonlocal refused
            try:
                do()
            except engine.EngineFailed as failed:
                refused = f"{failed}"
                return False
            return True

        try:
            until(look, what)
        except NotInTime as late:
            raise NotInTime(f"{late}: {refused}") from None

    def _say_last_words(self) -> None:
        try:
            for name, state in engine.states().items():
                self._say(f"--- {name}: {state}\n{engine.last_words(name)}")
        except engine.EngineFailed as failed:
            self._say(f"--- {failed}")


def busy() -> str:
    """Return how busy the machine is: times that were taken beside other work say little."""
    return f"[load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores]"


SHORT: Final = ("grpc", "kafka", "kill", "all-killed", "wiped")


def main() -> int:
    """Tell the story; see the module for the exit codes."""
    story = ComposeStory(say)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(story.rows))
    parser.add_argument("--short", action="store_true", help=f"only {', '.join(SHORT)}")
    parser.add_argument("--no-build", action="store_true", help="the images are there")
    parser.add_argument("--keep", action="store_true", help="leave the containers running")
    options = parser.parse_args()
    names = options.rows or (SHORT if options.short else tuple(story.rows))
    if unknown := [name for name in names if name not in story.rows]:
        parser.error(f"no row {unknown[0]}; there are: {', '.join(story.rows)}")
    if (why := engine.absent()) is not None:
        say(f"SKIPPED: the compose story needs a container engine with compose: {why}")
        return NO_ENGINE
    if not options.no_build:
        began = monotonic()
        engine.build()
        say(f"images built: {monotonic() - began:.0f} s")
    try:
        engine.compose("down", "-v", "--remove-orphans")
        broken = story.tell(names)
    finally:
        if not options.keep:
            engine.compose("down", "-v", "--remove-orphans")
    say(f"{len(names) + 1 - len(broken)} of {len(names) + 1} rows held")
    if broken:
        say(f"not: {', '.join(broken)}")
    if story.late:
        say(f"late: {', '.join(story.late)}")
    return 1 if broken else LATE if story.late else 0


if __name__ == "__main__":
    sys.exit(main())
