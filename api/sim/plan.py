"""What goes wrong in a run: made from a seed, or read from a tape; a tape is JSON and replays.

Every choice that a run makes beside its plan comes from the plan's seed as well. Leaving faults out
of a tape, or changing their times, gives another run that is as exact as the first: so a failure is
made smaller.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum, unique
from random import Random
from typing import Any, Final

from api.sim.chance import chance

MACHINES: Final = (1, 2, 3)
LEADER: Final = 0
"""In place of a machine: the one whose node leads the first partition when the fault strikes."""
STORM_MS: Final = 14_000
"""How long things go wrong."""
FAULTS_MIN: Final = 4
FAULTS_MAX: Final = 12
DRIFT_PPM_MAX: Final = 10_000
"""Clocks of machines go by up to one per cent too fast or too slow."""
FAR_OFF_1_IN: Final = 6
"""In one seed of so many, the date of one machine is off by up to `FAR_OFF_MS`."""
FAR_OFF_MS: Final = 20_000
"""Less than what keeps a node from leading (`cluster.controller.clocks`), which may have to wait
for somebody who sets the clock: such a run need not make progress."""
KINDS_MAX: Final = 5
"""Kinds of faults that are mixed in one seed."""


@unique
class Kind(Enum):
    """What can go wrong."""

    KILL = "kill"
    """The process of a machine ends without a word; it starts again after a while."""
    POWER = "power"
    """A machine loses its power, and of its disk any part of what was not synced."""
    POWER_IN_JOB = "power in job"
    """The same, in the middle of what a worker does to the disk."""
    POWER_ALL = "power all"
    """All machines lose their power at once."""
    STOP = "stop"
    """The process of a machine is stopped in order."""
    PAUSE = "pause"
    """The process of a machine stands still."""
    ISOLATE = "isolate"
    """A machine reaches nobody, and nobody reaches it."""
    DEAF = "deaf"
    """Nothing reaches a machine; what it says arrives."""
    MUTE = "mute"
    """What a machine says reaches nobody."""
    SPLIT = "split"
    """A machine and the next one do not reach each other; both reach the third."""
    RESET = "reset"
    """Connections end, each direction after any byte."""
    SLOW_WAYS = "slow ways"
    """What a machine says takes long."""
    SLOW_DISK = "slow disk"
    """The disk of a machine takes long."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    at_ms: int
    """Since the storm began."""
    kind: Kind
    machine: int
    """Or `LEADER`."""
    for_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """See the module."""

    seed: int
    faults: tuple[Fault, ...]
    partitions: int = 2
    producers: int = 3
    storm_ms: int = STORM_MS
    wall_off_ms: tuple[int, ...] = (0, 0, 0)
    """By how much the date of each machine is wrong."""
    drift_ppm: tuple[int, ...] = (0, 0, 0)

    def to_json(self) -> str:
        """Return the tape."""
        return json.dumps(asdict(self), default=lambda kind: kind.value, indent=1)

    def without(self, *faults: Fault) -> "Plan":
        """Return the plan with fewer faults."""
        return replace(self, faults=tuple(one for one in self.faults if one not in faults))


class TapeRefused(Exception):  # noqa: N818 - says what happened
    """What was given is no tape: names what is wrong."""


def make_plan(seed: int) -> Plan:
    """Return the plan of a seed: a few kinds of faults, mixed."""
    rand = chance("plan", seed)
    every = list(Kind)
    kinds = [every.pop(rand.randrange(len(every))) for _ in range(1 + rand.randrange(KINDS_MAX))]
    count = FAULTS_MIN + rand.randrange(FAULTS_MAX - FAULTS_MIN + 1)
    faults = sorted(
        (
            Fault(
                at_ms=rand.randrange(STORM_MS),
                kind=kinds[rand.randrange(len(kinds))],
                machine=LEADER if rand.randrange(2) else MACHINES[rand.randrange(len(MACHINES))],
                for_ms=_how_long(rand),
            )
            for _ in range(count)
        ),
        key=lambda fault: fault.at_ms,
    )
    return Plan(
        seed=seed,
        faults=tuple(faults),
        partitions=1 + rand.randrange(3),
        wall_off_ms=_wall_off(rand),
        drift_ppm=tuple(rand.randrange(2 * DRIFT_PPM_MAX) - DRIFT_PPM_MAX for _ in MACHINES),
    )


def _wall_off(rand: Random) -> tuple[int, ...]:
    """Return by how much each date is wrong: by a second at most; rarely one by more."""
    off = [rand.randrange(2_000) - 1_000 for _ in MACHINES]
    if rand.randrange(FAR_OFF_1_IN) == 0:
        off[rand.randrange(len(off))] = (rand.randrange(2) * 2 - 1) * rand.randrange(FAR_OFF_MS)
    return tuple(off)


def _how_long(rand: Random) -> int:
    """Return how long a fault lasts, in ms: below what makes others act, or above it."""
    return 200 + rand.randrange(1_300) if rand.randrange(2) else 2_500 + rand.randrange(3_500)


def read_tape(text: str) -> Plan:
    """Return the plan of a tape.

    Raises:
        TapeRefused: it is none.
    """
    try:
        given = json.loads(text)
        if not isinstance(given, Mapping):
            raise TapeRefused("a tape is an object")
        unknown = given.keys() - {field.name for field in fields(Plan)}
        if unknown:
            raise TapeRefused(f"nobody knows {', '.join(sorted(unknown))}")
        plain = Plan(seed=int(given["seed"]), faults=tuple(map(_fault, given["faults"])))
        return replace(
            plain,
            partitions=int(given.get("partitions", plain.partitions)),
            producers=int(given.get("producers", plain.producers)),
            storm_ms=int(given.get("storm_ms", plain.storm_ms)),
            wall_off_ms=tuple(map(int, given.get("wall_off_ms", plain.wall_off_ms))),
            drift_ppm=tuple(map(int, given.get("drift_ppm", plain.drift_ppm))),
        )
    except KeyError as missing:
        raise TapeRefused(f"{missing.args[0]} is missing") from missing
    except (TypeError, ValueError) as wrong:
        raise TapeRefused(str(wrong)) from wrong


def _fault(row: Mapping[str, Any]) -> Fault:
    machine = int(row["machine"])
    if machine not in (LEADER, *MACHINES):
        raise TapeRefused(f"machine {machine}: there are {MACHINES}, and {LEADER} for who leads")
    return Fault(int(row["at_ms"]), Kind(row["kind"]), machine, int(row["for_ms"]))
