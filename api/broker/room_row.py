"""The row of those who wait for room in a budget: first come, first served, in three lanes.

Whose turn it is has the next room that is there, and all others wait, though they may need less:
else a reader of much is passed by readers of little for as long as there are any. What is in memory
already is counted in the budget and goes past the row; so does nobody else.

The lanes have their turns one after the other, since who leaves without room comes again behind all
others. In one lane those who wait longer than the row is long would have all of it for ever, and
a fetch that waits half a second nothing. Within a lane everybody waits about as long, and what is
too long gets shorter by itself.

Room is given, not announced: the bytes are taken for whoever's turn it is before he hears of it.
"""

from collections.abc import Callable
from enum import Enum, auto
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


class Lane(Enum):
    """For how long somebody waits."""

    STAYS = auto()
    """Until there is room: a member's stream, which shows signs of life meanwhile."""
    CALLS = auto()
    """As long as a stream may be silent."""
    FETCHES = auto()
    """As long as a fetch may take, as its client says."""


class RoomPlace:
    """One place in a row, or the room that was given for it."""

    __slots__ = ("_call", "is_given", "lane", "size_bytes")

    def __init__(self, size_bytes: int, call: Callable[[], None], lane: Lane) -> None:
        """Wait for so much; `call` when it is given, at once or later."""
        self.size_bytes = size_bytes
        self.lane = lane
        self._call = call
        self.is_given = False
        """The bytes are counted, and whoever stood here holds them."""

    def give(self) -> None:
        """Tell whoever stands here that the bytes are his."""
        self.is_given = True
        self._call()


class RoomRow:
    """See the module. Loop only."""

    __slots__ = ("_budget", "_lanes")

    def __init__(self, budget: Bytes) -> None:
        """Nobody waits."""
        self._budget = budget
        self._lanes: dict[Lane, dict[RoomPlace, None]] = {lane: {} for lane in Lane}
        """The one that was served last stands last."""

    def __len__(self) -> int:
        """Return how many wait."""
        return sum(map(len, self._lanes.values()))

    def join(self, size_bytes: int, call: Callable[[], None], lane: Lane) -> RoomPlace:
        """Stand behind all others of a lane; `call` once the bytes are taken, maybe at once."""
        place = RoomPlace(size_bytes, call, lane)
        self._lanes[lane][place] = None
        self.go_on()
        return place

    def leave(self, place: RoomPlace) -> None:
        """Want no room any more: what was given goes back, and the next may fit."""
        given_bytes = place.size_bytes if place.is_given else 0
        place.is_given = False
        self._lanes[place.lane].pop(place, None)
        self._budget.give_back(given_bytes)

    def go_on(self) -> None:
        """Give room to those whose turn it is, for as long as there is enough."""
        while lane := next((one for one, places in self._lanes.items() if places), None):
            places = self._lanes[lane]
            first = next(iter(places))
            if not self._budget.fits(first.size_bytes):
                return
            del places[first]
            self._lanes[lane] = self._lanes.pop(lane)
            self._budget.take(first.size_bytes)
            first.give()
