"""What a power cut may leave, state by state: the weak model, and what ext4 in ordered mode does.

Everything must hold under the weak model. The ordered one leaves fewer states, and others than the
samples of the weak one where those are too many to try all.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from typing import Final, TypeVar

from api.sim.platter import Resize, SectorWrite
from api.sim.power_cut import GARBAGE, Pending, Survivors
from api.sim.trace import Sync, SyncDirectory
from model.ports import Rand

SUBSETS_OF_AT_MOST: Final = 8
"""Up to so many pending things every combination is tried: 256 states."""
PAIRS_MAX: Final = 60
RANDOM_STATES: Final = 64
DRAWN: Final = 4
EACH_MAX: Final = 40
"""Things that are missing, or alone, one by one; of more, so many are drawn for each cut."""
TORN_AT: Final = (1, 7, 56, 64, 200, 256, 448, 511)
"""Bytes of a torn sector that arrive: within a head, at its end, in the body."""

Thing = TypeVar("Thing")
Model = Callable[[Pending, Rand], Iterator[Survivors]]


def weak(pending: Pending, rand: Rand) -> Iterator[Survivors]:
    """Any subset of sectors and lengths, any first part of each directory's changes."""
    if pending.count() <= SUBSETS_OF_AT_MOST:
        states = _all_subsets(pending)
    else:
        states = _sampled(pending, rand)
    grows = any(isinstance(unit, Resize) and not unit.hole for unit in pending.units)
    for kept in states:
        yield kept
        if grows and kept.units != pending.everything.units:
            yield Survivors(kept.units, kept.names, fill=GARBAGE)
    yield from _torn(pending)


def ordered(pending: Pending, rand: Rand) -> Iterator[Survivors]:
    """Names and lengths in the order of their happening, data before the length that shows it.

    Sectors that were there before are written back whenever the kernel likes.
    """
    sizes = {unit.order for unit in pending.units if isinstance(unit, Resize)}
    changes = {change.order for each in pending.directories for change in each.pending}
    overwritten = [i for i, unit in enumerate(pending.units) if unit.order not in sizes]
    for last in sorted({pending.committed, *(sizes | changes)}):
        if last < pending.committed:
            continue
        names = tuple(
            sum(change.order <= last for change in each.pending) for each in pending.directories
        )
        grown = sum(
            1 << index
            for index, unit in enumerate(pending.units)
            if unit.order in sizes and unit.order <= last
        )
        for units in _some_subsets(overwritten, rand):
            yield Survivors(grown | units, names)


def coarse(pending: Pending, rand: Rand) -> Iterator[Survivors]:
    """A few weak states that a missing sync shows first: what one file or one name is without."""
    whole = pending.everything
    yield pending.nothing
    yield whole
    for mask in pending.masks():
        yield Survivors(whole.units & ~mask, whole.names)
        yield Survivors(mask, whole.names)
    for names in _at_most(list(_each_prefix(whole.names)), EACH_MAX, rand):
        yield Survivors(whole.units, names)
    bits = [1 << index for index in range(len(pending.units))]
    for bit in _at_most(bits, SUBSETS_OF_AT_MOST, rand):
        yield Survivors(whole.units & ~bit, whole.names)


def drawn(pending: Pending, rand: Rand) -> Iterator[Survivors]:
    """A few weak states by chance: for many runs, each of which is looked at in few places."""
    whole = pending.everything
    yield whole
    yield Survivors(whole.units, tuple(rand.randrange(count + 1) for count in whole.names))
    bits = [1 << index for index in range(len(pending.units))]
    for bit in _at_most(bits, DRAWN, rand):
        yield Survivors(whole.units & ~bit, whole.names)
    for _ in range(DRAWN):
        yield pending.some(rand)


def lacking(step: Sync | SyncDirectory) -> Model:
    """Return a model that loses what one sync would have kept, and nothing else, or everything."""

    def model(pending: Pending, _: Rand) -> Iterator[Survivors]:
        whole = pending.everything
        if isinstance(step, Sync):
            yield Survivors(whole.units & ~pending.mask_of(step.file), whole.names)
        else:
            for names in _each_prefix(whole.names):
                yield Survivors(whole.units, names)
        yield pending.nothing

    return model


MODELS: Final[dict[str, Model]] = {"weak": weak, "ext4-ordered": ordered, "drawn": drawn}


def _all_subsets(pending: Pending) -> Iterator[Survivors]:
    prefixes = [range(len(each.pending) + 1) for each in pending.directories]
    for names in product(*prefixes):
        for units in range(1 << len(pending.units)):
            yield Survivors(units, names)


def _sampled(pending: Pending, rand: Rand) -> Iterator[Survivors]:
    """Nothing, everything, each thing missing, each alone, pairs missing, and some by chance."""
    whole, nothing = pending.everything, pending.nothing
    yield nothing
    yield whole
    for names in _at_most(list(_each_prefix(whole.names)), EACH_MAX, rand):
        yield Survivors(whole.units, names)
        yield Survivors(0, names)
    bits = [1 << index for index in range(len(pending.units))]
    for bit in _at_most(bits, EACH_MAX, rand):
        yield Survivors(whole.units & ~bit, whole.names)
        yield Survivors(bit, whole.names)
    pairs = list(combinations(bits, 2))
    for first, second in _at_most(pairs, PAIRS_MAX, rand):
        yield Survivors(whole.units & ~first & ~second, whole.names)
    for _ in range(RANDOM_STATES):
        yield pending.some(rand)


def _torn(pending: Pending) -> Iterator[Survivors]:
    """Let the newest sector arrive in part."""
    last = max(
        (i for i, unit in enumerate(pending.units) if isinstance(unit, SectorWrite)), default=None
    )
    if last is None:
        return
    unit, whole = pending.units[last], pending.everything
    assert isinstance(unit, SectorWrite)
    for arrived in TORN_AT:
        if arrived < len(unit.content):
            yield Survivors(whole.units, whole.names, torn=(last, arrived))


def _each_prefix(whole: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Shorten one directory's changes at a time."""
    for index, count in enumerate(whole):
        for shorter in range(count):
            yield (*whole[:index], shorter, *whole[index + 1 :])


def _some_subsets(indexes: Sequence[int], rand: Rand) -> Iterator[int]:
    if len(indexes) <= 4:
        for chosen in product((0, 1), repeat=len(indexes)):
            yield sum(1 << index for index, kept in zip(indexes, chosen, strict=True) if kept)
        return
    yield 0
    yield sum(1 << index for index in indexes)
    for _ in range(8):
        yield sum(1 << index for index in indexes if rand.randrange(2))


def _at_most(things: Sequence[Thing], most: int, rand: Rand) -> Iterator[Thing]:
    if len(things) <= most:
        yield from things
        return
    for _ in range(most):
        yield things[rand.randrange(len(things))]
