"""Clients of the model that ask: where a log ends, and where a time begins."""

from typing import Any, NamedTuple

from tests.chaos.history import Ask, Find, Found, Shown
from tests.chaos.world import Part, World


class Question(NamedTuple):
    """What somebody asked, and is answered later. Each asks once: nobody's answers are compared."""

    client: str
    part: Part
    time: int | None
    clock: str
    """Empty: where the log ends."""
    least: int
    """Up to where it was acknowledged, by who led it then or before, when it was asked."""


class Asks:
    """Questions that are under way."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: list[Question] = []
        self._answers: list[tuple[str, type[Any], dict[str, Any]]] = []

    def ask(self) -> None:
        world, rand = self._world, self._world.rand
        client, part = f"asker-{world.number()}", rand.choice(list(world.parts.values()))
        clock = rand.choice(("", "event", "append"))
        time = None
        if not clock:
            world.note(client, Ask, id=1, at=part.at)
        else:
            time = rand.randrange(1_100) if clock == "event" else 1_000 + 10 * rand.randrange(40)
            world.note(client, Find, id=1, at=part.at, time=time, clock=clock)
        self._open.append(Question(client, part, time, clock, part.acked_end))

    def answer(self) -> None:
        """A leader answers: the one that is, or one that was and does not know."""
        if not self._open:
            return
        rand = self._world.rand
        question = self._open.pop(rand.randrange(len(self._open)))
        part = question.part
        epoch, end = rand.choice([*part.deposed, (part.epoch, part.end)])
        if question.clock:
            self._answers.append((question.client, Found, self._found(question, end)))
            return
        if epoch == part.epoch and question.least and self._world.strikes("shows-too-little"):
            end = question.least - 1
        edges = {"at": part.at, "asked": 1, "hw": end, "epoch": epoch}
        self._answers.append((question.client, Shown, edges))

    def _found(self, question: Question, end: int) -> dict[str, Any]:
        part, wanted = question.part, question.time or 0
        times = [
            (offset, kept.time if question.clock == "event" else kept.appended)
            for offset, kept in enumerate(part.log[:end])
            if offset >= part.start and kept is not None
        ]
        late = [(offset, time) for offset, time in times if time is not None and time >= wanted]
        early = [(offset, time) for offset, time in times if time is not None and time < wanted]
        if early and self._world.strikes("found-too-early"):
            late = [self._world.rand.choice(early)]
        elif late and self._world.strikes("found-too-late"):
            late = late[1:]
        found: dict[str, Any] = {"id": 1, "start": part.start}
        if not late:
            return found | {"hw": end}
        return found | {"offset": late[0][0], "time": late[0][1]}

    def hand_over(self) -> None:
        """Somebody hears the answer."""
        if self._answers:
            place = self._world.rand.randrange(len(self._answers))
            client, kind, fields = self._answers.pop(place)
            self._world.note(client, kind, **fields)

    def finish(self) -> None:
        """Let everybody hear what was answered."""
        while self._answers:
            self.hand_over()
