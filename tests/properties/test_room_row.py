"""Whoever waits is served as he came, lane after lane, and what is counted is held by somebody."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from api.broker.memory import MemoryBudget
from api.broker.room_row import Lane, RoomPlace

LIMIT = 100
SIZES = st.integers(0, 130)
LANES = st.sampled_from(Lane)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), SIZES, LANES),
        st.tuples(st.just("count"), SIZES, LANES),
        st.tuples(st.just("leave"), st.integers(0, 20), LANES),
    ),
    max_size=60,
)


class Model:
    """A list of who waits, and a list of what is held."""

    def __init__(self) -> None:
        self.row: list[tuple[int, int, Lane]] = []
        self.turns = list(Lane)
        self.held: dict[int, int] = {}

    def settle(self) -> list[int]:
        """Serve the first of the next lane for as long as he fits; return who was served."""
        served = []
        while self.row:
            first = min(self.row, key=lambda one: self.turns.index(one[2]))
            number, size, lane = first
            taken = sum(self.held.values())
            if taken and taken + size > LIMIT:
                break
            self.held[number] = size
            served.append(number)
            self.row.remove(first)
            self.turns.remove(lane)
            self.turns.append(lane)
        return served

    def leave(self, number: int) -> None:
        self.held.pop(number, None)
        self.row = [one for one in self.row if one[0] != number]


@given(STEPS)
def test_a_row_is_a_list_of_who_waits(steps: list[tuple[str, int, Lane]]) -> None:
    budget, model = MemoryBudget(LIMIT), Model()
    places: dict[int, RoomPlace] = {}
    told: list[int] = []
    for number, (what, value, lane) in enumerate(steps):
        served: list[int] = []
        told.clear()
        match what:
            case "join":
                model.row.append((number, value, lane))
                served = model.settle()
                places[number] = budget.row.join(value, partial(told.append, number), lane)
            case "count":
                model.held[number] = value
                budget.take(value)
            case _ if value in places:
                model.leave(value)
                served = model.settle()
                budget.row.leave(places.pop(value))
            case _ if value in model.held:
                size = model.held.pop(value)
                served = model.settle()
                budget.give_back(size)
            case _:
                pass  # it has gone
        assert told == served
        assert len(budget.row) == len(model.row)
        assert budget.taken_bytes == sum(model.held.values())
