"""Every state that can be reached, breadth first, until one breaks an invariant; or walks.

States are hashable values without text or enums in them, so that their hashes, of which alone the
visited ones are kept, are the same in every process. Of 5 million states two share a 61-bit hash
with probability 5e-6; one of them would not be looked at.
"""

from array import array
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias, TypeVar

StateT = TypeVar("StateT", bound=Hashable)
_LONGEST_WALK = 400


Steps: TypeAlias = Iterator[tuple[str, Callable[[], StateT]]]


class BrokenError(Exception):
    """An invariant does not hold in a state: its name."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search saw."""

    states: int
    transitions: int
    depth: int
    """Steps from the first state to the last one that was looked at."""
    complete: bool = False
    """There is no further state."""
    broken: str | None = None
    """The invariant that does not hold, at the end of `path`."""
    path: tuple[str, ...] = ()


def explore(first: StateT, steps: Callable[[StateT], Steps[StateT]], *, states_max: int) -> Found:
    """Search from `first`.

    `steps` yields what may happen in a state, as a name and a call that returns the next state; the
    call raises `BrokenError`, or the AssertionError of a core, where an invariant does not hold.
    The names of a state's steps differ, and come in the same order each time.
    """
    seen = {hash(first)}
    frontier = deque([(0, 0, first)])
    parents, choices = array("L", [0]), array("H", [0])
    transitions = depth = 0
    while frontier and len(seen) < states_max:
        place, depth, state = frontier.popleft()
        for choice, (_, happen) in enumerate(steps(state)):
            transitions += 1
            try:
                after = happen()
            except (BrokenError, AssertionError) as broken:
                path = _path(first, steps, [*_choices(place, parents, choices), choice])
                return Found(
                    len(seen), transitions, depth + 1, broken=str(broken), path=tuple(path)
                )
            key = hash(after)
            if key not in seen:
                seen.add(key)
                frontier.append((len(parents), depth + 1, after))
                parents.append(place)
                choices.append(choice)
    return Found(len(seen), transitions, depth, complete=not frontier)


def wander(
    first: StateT,
    steps: Callable[[StateT], Steps[StateT]],
    *,
    states_max: int,
    seed: int,
    weigh: Callable[[str], Sequence[float]],
) -> Found:
    """Walk from `first` until nothing more may happen, again and again: seldom near, often deep.

    Every walk has its own mix of what is frequent and what is rare: `weigh` returns the weights
    among which each chooses for a kind of step, which is its name before the bracket. States that
    several walks come through are counted each time.
    """
    states = deepest = 0
    walk = 0
    while states < states_max:
        choose = Random(f"{seed}/{walk}")
        walk += 1
        weights: dict[str, float] = {}
        state, names = first, []
        while possible := list(steps(state)):
            kinds = [name.partition("(")[0] for name, _ in possible]
            for kind in kinds:
                weights.setdefault(kind, choose.choice(weigh(kind)))
            [(name, happen)] = choose.choices(possible, [weights[kind] for kind in kinds])
            names.append(name)
            states += 1
            deepest = max(deepest, len(names))
            try:
                state = happen()
            except (BrokenError, AssertionError) as broken:
                return Found(states, states, deepest, broken=str(broken), path=tuple(names))
            if len(names) == _LONGEST_WALK:
                break
    return Found(states, states, deepest)


def _choices(place: int, parents: "array[int]", choices: "array[int]") -> list[int]:
    """Return which step was taken in each state from the first one to this."""
    taken: list[int] = []
    while place:
        taken.append(choices[place])
        place = parents[place]
    return taken[::-1]


def _path(state: StateT, steps: Callable[[StateT], Steps[StateT]], taken: list[int]) -> list[str]:
    """Return the names of the steps that were taken, from the first state on."""
    names: list[str] = []
    for choice in taken:
        name, happen = list(steps(state))[choice]
        names.append(name)
        if len(names) < len(taken):
            state = happen()
    return names
