"""The row of those who wait for room in a budget: first come, first served.

Who is first has the next room that is there, and who is behind waits, though he may need less: else
a reader of much is passed by readers of little for as long as there are any. What is in memory
already is counted in the budget and goes past the row; so does nobody else.

Room is given, not announced: the bytes are taken for whoever's turn it is before he hears of it.
"""

from collections.abc import Callable
from typing import Protocol


class Bytes(Protocol):
    """What is needed of a budget."""

    def fits(self, size_bytes: int) -> bool:
        """Tell whether so much more can be held."""
        ...

    def take(self, size_bytes: int) -> None:
        """Count bytes that are held from now on."""
        ...

    def give_back(self, size_bytes: int) -> None:
        """Count bytes that were let go, and let the row go on."""
        ...


class RoomPlace:
    """One place in a row, or the room that was given for it."""

    __slots__ = ("_call", "is_given", "size_bytes")

    def __init__(self, size_bytes: int, call: Callable[[], None]) -> None:
        """Wait for so much; `call` when it is given, at once or later."""
        self.size_bytes = size_bytes
        self._call = call
        self.is_given = False
        """The bytes are counted, and whoever stood here holds them."""

    def give(self) -> None:
        """Tell whoever stands here that the bytes are his."""
        self.is_given = True
        self._call()


class RoomRow:
    """See the module. Loop only."""

    __slots__ = ("_budget", "_places")

    def __init__(self, budget: Bytes) -> None:
        """Nobody waits."""
        self._budget = budget
        self._places: dict[RoomPlace, None] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._places)

    def join(self, size_bytes: int, call: Callable[[], None]) -> RoomPlace:
        """Stand behind all others; `call` once the bytes are taken, which may be at once."""
        place = RoomPlace(size_bytes, call)
        self._places[place] = None
        self.go_on()
        return place

    def leave(self, place: RoomPlace) -> None:
        """Want no room any more: what was given goes back, and the next may fit."""
        given_bytes = place.size_bytes if place.is_given else 0
        place.is_given = False
        self._places.pop(place, None)
        self._budget.give_back(given_bytes)

    def go_on(self) -> None:
        """Give room to those whose turn it is, for as long as there is enough."""
        while self._places:
            first = next(iter(self._places))
            if not self._budget.fits(first.size_bytes):
                return
            del self._places[first]
            self._budget.take(first.size_bytes)
            first.give()
