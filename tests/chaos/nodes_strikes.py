"""What is done to the nodes, as the seed says: each strike breaks something, and mends it again."""

import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from threading import Event
from time import monotonic
from typing import Final, Protocol, TypeAlias

from tests.chaos.nodes_network import CLIENTS, Link, both_ways
from tests.chaos.nodes_plan import NUMBERS, PARTITIONS, Kind
from tests.chaos.nodes_world import World

QUORUM_SHARE: Final = 0.5
"""Of strikes that meet whoever leads the quorum; the others meet the leader of a partition."""
AT_ONCE_SHARE: Final = 0.25
"""Of killed nodes that are started again at once, before anybody else leads."""
HOLD_S: Final = (6.0, 15.0)
"""A cut lasts so long."""


class Watch(Protocol):
    """What a strike must know of the run."""

    def quorum_leader(self) -> int:
        """Return who leads the controller quorum."""

    def leader(self, partition: int) -> int:
        """Return who leads a partition."""

    def writes_back(self, what: str) -> None:
        """Wait until every partition takes records again through every door."""


@dataclass(frozen=True, slots=True)
class Blow:
    """What a strike has done."""

    what: str
    """For people: who was hit, and how."""
    mended_s: float
    """When nothing was broken any longer, monotonic."""
    counts_from_s: float | None = None
    """From when on silence counts; None: from the beginning."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One strike to be: everything that chance decides about it was decided."""

    kind: Kind
    quorum: bool
    """It meets who leads the quorum; else, who leads `partition`."""
    partition: int
    at_once: bool
    form: str
    """Of a cut; a name of `CUTS`."""
    hold_s: float
    """How long a cut or a pause lasts."""
    order: tuple[int, ...]
    """In which the disks lose their power."""

    def victim(self, watch: Watch) -> int:
        """Return who is hit."""
        return watch.quorum_leader() if self.quorum else watch.leader(self.partition)


def strikes(counts: Mapping[Kind, int], seed: int, *, pause_s: float) -> list[Strike]:
    """Return the strikes of a seed, of all kinds in one order that chance has made."""
    rand = Random(seed)
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    rand.shuffle(kinds)
    forms = list(CUTS)
    made: list[Strike] = []
    for kind in kinds:
        order = list(NUMBERS)
        rand.shuffle(order)
        made.append(
            Strike(
                kind=kind,
                quorum=rand.random() < QUORUM_SHARE,
                partition=rand.randrange(PARTITIONS),
                at_once=rand.random() < AT_ONCE_SHARE,
                form=forms[sum(one.kind is Kind.CUTS for one in made) % len(forms)],
                hold_s=pause_s if kind is Kind.PAUSES else rand.uniform(*HOLD_S),
                order=tuple(order),
            )
        )
    return made


def _off(victim: int, others: list[int]) -> Iterable[Link]:
    return [link for other in others for link in both_ways(victim, other)]


def _alone(victim: int, others: list[int]) -> Iterable[Link]:
    return [*_off(victim, others), *both_ways(victim, CLIENTS)]


def _mute(victim: int, others: list[int]) -> Iterable[Link]:
    return [Link(victim, other) for other in others]


def _deaf(victim: int, others: list[int]) -> Iterable[Link]:
    return [Link(other, victim) for other in others]


def _pair(victim: int, others: list[int]) -> Iterable[Link]:
    return both_ways(victim, others[0])


def _half_pair(victim: int, others: list[int]) -> Iterable[Link]:
    return [Link(victim, others[0])]


Form: TypeAlias = Callable[[int, list[int]], Iterable[Link]]
CUTS: Final[dict[str, Form]] = {
    "off from both others": _off,
    "not heard by the others": _mute,
    "hears nothing of the others": _deaf,
    "off from the others and from all clients": _alone,
    "off from one other": _pair,
    "not heard by one other": _half_pair,
}
"""What goes through no more; the clients reach every node but in one of them."""


def kill(world: World, strike: Strike, watch: Watch) -> Blow:
    """Kill -9, and start again: when writes are back, or at once."""
    victim = strike.victim(watch)
    world.kill([victim])
    try:
        if not strike.at_once:
            watch.writes_back(f"while node {victim} is dead")
    finally:
        world.start([victim])
    when = "started again at once" if strike.at_once else "started again when writes were back"
    return Blow(f"{_who(strike, victim)} killed, {when}", monotonic())


def pause(world: World, strike: Strike, watch: Watch) -> Blow:
    """Stand still, and go on."""
    victim = strike.victim(watch)
    began = monotonic()
    world.nodes[victim].signal(signal.SIGSTOP)
    try:
        watch.writes_back(f"while node {victim} stands still")
        Event().wait(max(0.0, strike.hold_s - (monotonic() - began)))
    finally:
        world.nodes[victim].signal(signal.SIGCONT)
    return Blow(f"{_who(strike, victim)} stood still for {strike.hold_s:.0f} s", monotonic())


def cut(world: World, strike: Strike, watch: Watch) -> Blow:
    """Let nothing through, in one direction or both."""
    victim = strike.victim(watch)
    others = [number for number in strike.order if number != victim]
    began = monotonic()
    world.network.cut(CUTS[strike.form](victim, others))
    try:
        watch.writes_back(f"while node {victim} is {strike.form}")
        Event().wait(max(0.0, strike.hold_s - (monotonic() - began)))
    finally:
        world.network.heal()
    return Blow(f"{_who(strike, victim)}: {strike.form}, {strike.hold_s:.0f} s", monotonic())


def cut_power(world: World, strike: Strike, watch: Watch) -> Blow:
    """All lose their power at once, and are started."""
    del watch
    world.cut_power(strike.order)
    emptied_before = len(world.emptied)
    up = world.start()
    emptied = [f", node {number} was emptied" for number in world.emptied[emptied_before:]]
    return Blow("".join(["all lost their power", *emptied]), up, counts_from_s=up)


DEEDS: Final[dict[Kind, Callable[[World, Strike, Watch], Blow]]] = {
    Kind.KILLS: kill,
    Kind.PAUSES: pause,
    Kind.CUTS: cut,
    Kind.POWER_CUTS: cut_power,
}


def _who(strike: Strike, victim: int) -> str:
    led = "the quorum" if strike.quorum else f"partition {strike.partition}"
    return f"node {victim}, leader of {led},"
