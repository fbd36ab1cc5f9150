"""Every crash of a recorded run: cut it anywhere, lose what may be lost, recover, check.

Nothing here knows the log store. A `Subject` recovers an image and judges the outcome against what
the workload had said until the cut; `tests/crash/toy_store.py` is a small one, with faults.
"""

import random
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from api.sim.image import EMPTY, Image
from api.sim.platter import Platter
from api.sim.power_cut import Pending, Survivors
from api.sim.trace import Mark, Replay, Step, Sync, SyncDirectory
from tests.crash.models import Model, lacking, weak

SECOND_CRASH_OF: Final = 6
"""One state in so many is crashed again inside its recovery: 17 %, by its hash."""
SOUNDINGS, NEAR = 12, 4
"""Cuts behind a sync that was left out that are tried before all others: so many here and there,
and at either end."""
SECOND_CUTS: Final = 3
"""Cuts tried inside one recovery, the last of them after its last step."""


class Recording(NamedTuple):
    """What a workload did to a disk, and what it said meanwhile."""

    steps: Sequence[Step]
    first: Image = EMPTY


class Outcome(NamedTuple):
    """What recovery made of one image."""

    state: object
    """What the store holds now, comparable; None if it refused."""
    after: bytes
    """Hash of what programs see on the disk afterwards."""
    steps: Sequence[Step]
    """What recovery did."""
    refusal: str | None = None
    """Why recovery failed: after a power cut it never may."""
    unreported: tuple[tuple[str, int], ...] = ()
    """Files, and the bytes that it took away of each without saying so."""


class Subject(Protocol):
    """A store under examination."""

    def recover(self, image: Image) -> Outcome:
        """Recover an image; every exception becomes a refusal."""
        ...

    def check(self, outcome: Outcome, said: Sequence[object], *, killed: bool) -> Iterator[str]:
        """Yield what is wrong with an outcome, given the marks until the crash.

        `killed`: the process was killed, and the disk has all that it was told.
        """
        ...


class Violation(NamedTuple):
    """One broken promise, with all that is needed to see it again."""

    what: str
    cut: int
    """Steps done before the crash."""
    image: Image
    second: bool = False


class _Left(NamedTuple):
    """What a crash may leave."""

    digest: bytes
    image: Image
    killed: bool
    """As a kill leaves it: everything that was written is there."""


@dataclass(slots=True)
class Seen:
    """What was tried, by hash: no state is counted twice."""

    tried: int = 0
    crashed: set[bytes] = field(default_factory=set)
    recovered: set[bytes] = field(default_factory=set)
    second: set[bytes] = field(default_factory=set)
    """Images of crashes inside recovery."""
    cut_again: set[bytes] = field(default_factory=set)
    """Of the first crashes, those whose recovery was crashed."""
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: "Seen") -> None:
        """Count what another run has seen."""
        self.tried += other.tried
        self.crashed |= other.crashed
        self.recovered |= other.recovered
        self.second |= other.second
        self.cut_again |= other.cut_again
        self.violations += other.violations


class Explorer:
    """Enumerates the crashes of one recording for one subject."""

    def __init__(
        self, subject: Subject, *, seed: int, violations_max: int = 10, twice: bool = True
    ) -> None:
        """`violations_max`: stop after so many. `twice`: crash inside some recoveries, too."""
        self._twice = twice
        self._subject = subject
        self._seed = seed
        self._violations_max = violations_max
        self._outcomes: dict[bytes, Outcome] = {}
        self._judged: set[tuple[bytes, int, bool]] = set()
        self.seen = Seen()

    def explore(
        self,
        recording: Recording,
        model: Model,
        *,
        without: int | None = None,
        cuts: Container[int] | None = None,
    ) -> Seen:
        """Crash after every step in `cuts` (all), with one step left out of the run."""
        rand = random.Random(self._seed)
        replay = Replay(Platter(recording.first))
        said: list[object] = []
        states: list[_Left] | None = None
        for index, step in enumerate(recording.steps):
            if isinstance(step, Mark):
                said.append(step.value)
            else:
                states = None
                if index != without:
                    replay.do(step)
            if (cuts is not None and index not in cuts) or _next_is_mark(recording.steps, index):
                continue
            if states is None:
                states = self._states(Pending(replay.platter), model, rand)
            for left in states:
                self._crash(left, said, cut=index + 1)
                if len(self.seen.violations) >= self._violations_max:
                    return self.seen
        return self.seen

    def _states(self, pending: Pending, model: Model, rand: random.Random) -> list[_Left]:
        """Return the different images that a crash may leave now."""
        images: dict[bytes, Image] = {}
        for kept in model(pending, rand):
            self.seen.tried += 1
            image = pending.image(kept)
            images.setdefault(image.digest(), image)
        self.seen.crashed |= images.keys()
        whole = pending.image(pending.everything).digest()
        return [_Left(digest, image, digest == whole) for digest, image in images.items()]

    def _crash(self, left: _Left, said: Sequence[object], *, cut: int) -> None:
        key = (left.digest, len(said), left.killed)
        if key in self._judged:
            return
        self._judged.add(key)
        outcome = self._judge(left, said, cut=cut)
        if not self._twice or outcome.refusal is not None:
            return
        if left.digest[0] % SECOND_CRASH_OF == 0:
            self.seen.cut_again.add(left.digest)
            self._crash_again(left.image, outcome, said, cut=cut)
        if left.killed:
            self._kill_again(left.image, outcome, said, cut=cut)

    def _judge(
        self, left: _Left, said: Sequence[object], *, cut: int, second: bool = False
    ) -> Outcome:
        outcome = self._outcomes.get(left.digest)
        wanted = not second and (left.killed or left.digest[0] % SECOND_CRASH_OF == 0)
        if outcome is None or (wanted and not outcome.steps):
            outcome = self._subject.recover(left.image)
            # Of the others nobody will look at the steps again.
            self._outcomes[left.digest] = outcome if wanted else outcome._replace(steps=())
            self.seen.recovered.add(outcome.after)
        if outcome.refusal is not None:
            self._report(f"recovery refused: {outcome.refusal}", cut, left.image, second=second)
            return outcome
        for what in self._subject.check(outcome, said, killed=left.killed):
            self._report(what, cut, left.image, second=second)
        return outcome

    def _crash_again(
        self, image: Image, outcome: Outcome, said: Sequence[object], *, cut: int
    ) -> None:
        """Cut the power inside the recovery of a state, and after it; what was recovered stays."""
        steps = outcome.steps
        rand = random.Random(image.digest())
        cuts = {rand.randrange(len(steps)) for _ in range(SECOND_CUTS)} if steps else set()
        replay = Replay(Platter(image))
        for index, step in enumerate(steps):
            replay.do(step)
            if index in cuts or index + 1 == len(steps):
                pending = Pending(replay.platter)
                for kept in _second_states(pending, rand):
                    again = pending.image(kept)
                    found = self._second(again, said, cut=cut, killed=False)
                    if index + 1 == len(steps) and found.state != outcome.state:
                        self._report(
                            "recovering again gives another state", cut, again, second=True
                        )

    def _kill_again(
        self, image: Image, outcome: Outcome, said: Sequence[object], *, cut: int
    ) -> None:
        """Kill the recovery that follows a kill, behind whatever it does to a file or a name.

        All that the process before it had written is still there, and so is what recovery has made
        of it: another start must find the same.
        """
        replay = Replay(Platter(image))
        for step in outcome.steps:
            replay.do(step)
            if isinstance(step, Mark | Sync | SyncDirectory):
                continue
            pending = Pending(replay.platter)
            again = pending.image(pending.everything)
            found = self._second(again, said, cut=cut, killed=True)
            if found.refusal is None and found.state != outcome.state:
                self._report("killed in recovery, it finds another state", cut, again, second=True)

    def _second(self, image: Image, said: Sequence[object], *, cut: int, killed: bool) -> Outcome:
        """Judge what a crash inside recovery has left."""
        left = _Left(image.digest(), image, killed)
        self.seen.second.add(left.digest)
        return self._judge(left, said, cut=cut, second=True)

    def _report(self, what: str, cut: int, image: Image, *, second: bool) -> None:
        self.seen.violations.append(Violation(what, cut, image, second))


def some_cuts(steps: Sequence[Step], most: int, seed: int) -> Container[int] | None:
    """Draw cuts from a long run: half of them just before or behind a sync; None: all."""
    if len(steps) <= most:
        return None
    rand = random.Random(seed)
    syncs = [i for i, step in enumerate(steps) if isinstance(step, Sync | SyncDirectory)]
    near = {at + rand.randrange(-1, 1) for at in rand.sample(syncs, min(len(syncs), most // 2))}
    return near | set(rand.sample(range(len(steps)), most // 2))


def _next_is_mark(steps: Sequence[Step], index: int) -> bool:
    """Tell whether a cut behind the next step says more about the same disk."""
    return index + 1 < len(steps) and isinstance(steps[index + 1], Mark)


def _second_states(pending: Pending, rand: random.Random) -> Iterator[Survivors]:
    if pending.count() <= 4:
        yield from weak(pending, rand)
        return
    yield pending.nothing
    yield pending.everything
    yield pending.some(rand)


class Dropped(NamedTuple):
    """One sync of a recording, and what is lost without it."""

    at: int
    step: Sync | SyncDirectory
    caught: Violation | None
    anyway: Violation | None = None
    """What is wrong just there although the sync is done: it hides whether the sync is missed."""


def sweep(
    subject: Subject, recording: Recording, models: Sequence[Model], *, seed: int
) -> Iterator[Dropped]:
    """Leave out each sync in turn, and look for a crash that tells, under one model or another."""
    for index, step in enumerate(recording.steps):
        if isinstance(step, Sync | SyncDirectory):
            yield leave_out(subject, recording, models, index=index, seed=seed)


def leave_out(
    subject: Subject, recording: Recording, models: Sequence[Model], *, index: int, seed: int
) -> Dropped:
    """Leave out one sync, and look for a crash that tells: first of those that it alone explains.

    A later sync of the same file makes up for the one left out: crashes behind it say nothing. Some
    cuts are tried first, at either end of what lies between and here and there; then all.
    What a crash there tells of the whole run as well, no sync explains.
    """
    steps = recording.steps
    step = steps[index]
    assert isinstance(step, Sync | SyncDirectory)
    until = next((i for i in range(index + 1, len(steps)) if steps[i] == step), len(steps))
    whole = [at for at in range(index, until) if not _next_is_mark(steps, at)]
    last = set(whole[-NEAR:])  # by then most losses show
    first = {*whole[:NEAR], *whole[:: max(1, len(whole) // SOUNDINGS)]} - last
    alone, rest = lacking(step), set(whole) - first - last
    begin = [(alone, cuts) for cuts in (last, first, rest)]
    tries = [*begin, *((each, set(whole)) for each in models)]
    for model, cuts in tries:
        explorer = Explorer(subject, seed=seed, violations_max=1, twice=False)
        seen = explorer.explore(recording, model, without=index, cuts=cuts)
        if seen.violations:
            caught = seen.violations[0]
            explorer = Explorer(subject, seed=seed, violations_max=1, twice=False)
            whole_run = explorer.explore(recording, model, cuts={caught.cut - 1}).violations
            return Dropped(index, step, None if whole_run else caught, next(iter(whole_run), None))
    return Dropped(index, step, None)
