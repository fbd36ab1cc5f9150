"""Runs of plans as values: what came of one, and a smaller plan that still fails the same way."""

import gc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Final

from api.sim.breach import Breach
from api.sim.plan import Plan
from api.sim.world import Stopped, World

LINES_KEPT: Final = 60
"""Of a trace, when a run fails."""
_ROOT: Final = Path(__file__).parents[2]
_OURS: Final = ("model", "logstore", "cluster", "consumer_groups", "api", "tidelog")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    trace_hash: str
    steps: int
    virtual_ms: int
    acked: int
    """Records that clients were told are committed."""
    happened: Counter[str]
    failure: str = ""
    """Name of the invariant that does not hold, or what a process failed with and where; none: ''.

    Two runs that fail by the same name fail the same way: `shrink` relies on that.
    """
    seen: str = ""
    lines: tuple[str, ...] = ()
    """The trace."""

    @property
    def is_good(self) -> bool:
        """Whether everything held."""
        return not self.failure


def run_plan(plan: Plan, *, until: int | None = None) -> Outcome:
    """Run a plan; `until`: no further than so many steps.

    Garbage is collected between runs only: when it is must not depend on what ran before.
    """
    world = World(plan, until=until)
    failure = seen = ""
    gc.disable()
    try:
        world.run()
    except Stopped:
        pass  # as was asked for; what held until then, held
    except Breach as breach:
        failure, seen = breach.name, str(breach)
    except Exception as error:  # noqa: BLE001 - whatever a node fails with is what came of the run
        failure, seen = name_of(error), f"{name_of(error)}: {error}"
    finally:
        gc.enable()
    return Outcome(
        plan=plan,
        trace_hash=world.trace_hash,
        steps=world.loop.steps,
        virtual_ms=world.loop.now_us // 1_000,
        acked=len(world.ledger.acked),
        happened=world.happened,
        failure=failure,
        seen=seen,
        lines=tuple(world.lines),
    )


def name_of(error: BaseException) -> str:
    """Return the type of an error, which assertion it is, and where of ours it comes from.

    `AssertionError RAFT_ONE_VOTE_A_TERM at cluster/raft/member.py:Member.vote`: the innermost place
    of ours. No line: it changes with every edit above it.
    """
    name, place = type(error).__name__, "a place not of ours"
    if isinstance(error, AssertionError) and str(error).isupper() and str(error).isidentifier():
        name += f" {error}"
    for frame, _ in walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(_ROOT) and file.relative_to(_ROOT).parts[0] in _OURS:
            place = f"{file.relative_to(_ROOT).as_posix()}:{frame.f_code.co_qualname}"
    return f"{name} at {place}"


def shrink(failed: Outcome, run: Callable[[Plan], Outcome] = run_plan) -> Outcome:
    """Return the run of a smaller plan that fails by the same name: faults are left out.

    First halves of them, then quarters, down to single ones, as long as something can be left out.
    """
    best, size = failed, max(1, len(failed.plan.faults) // 2)
    while True:
        smaller = _smaller(best, size, run)
        if smaller is not None:
            best = smaller
            size = max(1, min(size, len(best.plan.faults)))
        elif size == 1:
            return best
        else:
            size //= 2


def _smaller(best: Outcome, size: int, run: Callable[[Plan], Outcome]) -> Outcome | None:
    faults = best.plan.faults
    for start in range(0, len(faults), size):
        found = run(best.plan.without(*faults[start : start + size]))
        if found.failure == best.failure:
            return found
    return None
