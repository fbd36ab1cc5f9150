"""Room for the records of one fetch: what its door holds for them, or what others leave (P53).

A door that counts its answers itself has none beforehand. Its fetch reads a part of what is free,
and nothing while there is too little, or others wait for it; then it waits for its turn as they do.
"""

from collections.abc import Callable
from typing import Final

from api.broker.answer_room import AnswerRoom
from api.broker.memory import MemoryBudget
from api.broker.room_row import Lane, RoomPlace

SHARE: Final = 16
"""An answer takes no more than one part in so many of the room that is left for answers, unless it
is one batch: it takes more than a few clients that read slowly to leave others nothing."""


class FetchRoom:
    """Of one fetch. Loop only."""

    __slots__ = ("_answers", "_door", "_place", "_pool_bytes", "is_starved")

    def __init__(
        self, *, answers: MemoryBudget | None = None, door: AnswerRoom | None = None
    ) -> None:
        """`answers`: beside which it must find room; None: its door sees to that, with `door`."""
        self._answers, self._door = answers, door
        self._place: RoomPlace | None = None
        self._pool_bytes = 0
        """What the read pool brings at most, counted among the answers until it is here."""
        self.is_starved = False
        """There was no room for records."""

    def bytes_now(self, max_bytes: int, wake: Callable[[], None]) -> int:
        """Return how many bytes of records may be read now; `wake`: once the door has room."""
        answers, door = self._answers, self._door
        self.is_starved = door is not None and not door.take_back(wake)
        if answers is not None:
            self.is_starved = not self._has_turn(answers)
            max_bytes = min(max_bytes, answers.free_bytes // SHARE)
        return 0 if self.is_starved else max_bytes

    def wait(self, wake: Callable[[], None]) -> bool:
        """Hold nothing for as long as there is nothing; tell whether `wake` comes with room."""
        if self._door is not None:
            self._door.lend()
        answers = self._answers
        if self.is_starved and answers is not None and self._place is None:
            self._place = answers.row.join(answers.relief_bytes, wake, Lane.FETCHES)
        return self.is_starved

    def forget(self) -> None:
        """Wait for no room any more."""
        self._leave()
        if self._door is not None:
            self._door.forget()

    def pooled(self, size_bytes: int) -> None:
        """Count what the read pool was asked for."""
        if self._answers is not None:
            self._answers.take(size_bytes)
            self._pool_bytes += size_bytes

    def arrived(self) -> None:
        """All of that is here: its door counts it from now on."""
        if self._pool_bytes and self._answers is not None:
            self._answers.give_back(self._pool_bytes)
        self._pool_bytes = 0

    def _has_turn(self, answers: MemoryBudget) -> bool:
        """Tell whether it may read: it was given room, or nobody waits and there is enough."""
        if self._place is None:
            return not (answers.row or answers.congested)
        if not self._place.is_given:
            return False
        self._leave()  # it is counted again by what it is used for
        return True

    def _leave(self) -> None:
        place, self._place = self._place, None
        if place is not None and self._answers is not None:
            self._answers.row.leave(place)
