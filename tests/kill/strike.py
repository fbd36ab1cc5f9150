"""Killing a node at a moment that was wished for, with as much under way as there must be."""

from dataclasses import dataclass, field
from random import Random
from time import monotonic, sleep
from typing import Final

from tests.kill.era import Era, Stuck
from tests.kill.moment import Doing, Observer, Phase
from tests.kill.node_process import NodeProcess

IN_FLIGHT_MIN: Final = 500
"""Records whose answer is awaited at every kill, written to a socket all of them."""
LOOKS_MAX: Final = 3_000
PAUSE_S_MAX: Final = 0.02
"""Between two looks the node goes on for up to so long: every part of a round is met."""
REPORT_S_MAX: Final = 30.0
ANSWERS_BETWEEN: Final = 300


@dataclass(slots=True)
class Struck:
    """How a node was ended."""

    wanted: Phase | None
    """None: at any moment, without a look."""
    in_flight: int
    phases: set[Phase] = field(default_factory=set)
    doing: list[Doing] = field(default_factory=list)
    looks: int = 0


def strike(node: NodeProcess, era: Era, *, rand: Random, wanted: Phase | None) -> Struck:
    """Kill the node under load.

    Without a wish it is killed as it runs, and a write may be torn. Else it is stopped again and
    again until one of its threads is where it was wished to be, and killed there.

    Raises:
        Stuck: there is not enough under way.
    """
    if wanted is None:
        sleep(rand.random() * PAUSE_S_MAX)
        struck = Struck(None, enough_under_way(era, fresh=False))
    else:
        struck = _at(wanted, node, era, rand=rand)
    node.kill()
    return struck


def _at(wanted: Phase, node: NodeProcess, era: Era, *, rand: Random) -> Struck:
    observer = Observer(node.pid, node.directory)
    for looks in range(1, LOOKS_MAX + 1):
        sleep(rand.random() * PAUSE_S_MAX)
        node.freeze()
        observer.settle()
        doing = observer.look()
        phases = observer.phases(doing)
        if wanted in phases or looks == LOOKS_MAX:
            in_flight = enough_under_way(era, fresh=True)
            if in_flight >= IN_FLIGHT_MIN:
                return Struck(wanted, in_flight, phases, doing, looks)
        node.thaw()
        if looks % 8 == 0:
            era.answered_more(rand.randrange(ANSWERS_BETWEEN))
    raise Stuck(f"never {IN_FLIGHT_MIN} records under way")


def enough_under_way(era: Era, *, fresh: bool) -> int:
    """Return how many records are on the way.

    `fresh`: by what clients say from now on; the node stands still, and nothing is answered. Else
    wait until it is enough.
    """
    load = era.load
    before = load.kafka.reports()
    until = monotonic() + REPORT_S_MAX
    while monotonic() < until:
        told = all(now > then for now, then in zip(load.kafka.reports(), before, strict=True))
        if fresh and told:
            return load.on_the_way()
        if not fresh and load.on_the_way() >= IN_FLIGHT_MIN:
            return load.on_the_way()
        sleep(0.001)
    raise Stuck("the clients do not say what is on the way")
