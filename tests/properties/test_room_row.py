"""Whoever waits for room is served as he came, and what is counted is held by somebody."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from api.broker.memory import MemoryBudget
from api.broker.room_row import RoomPlace

LIMIT = 100
SIZES = st.integers(0, 130)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), SIZES),
        st.tuples(st.just("count"), SIZES),
        st.tuples(st.just("leave"), st.integers(0, 20)),
    ),
    max_size=60,
)


class Model:
    """A list of who waits, and a list of what is held."""

    def __init__(self) -> None:
        self.row: list[tuple[int, int]] = []
        self.held: dict[int, int] = {}

    def settle(self) -> list[int]:
        """Serve the first for as long as he fits; return who was served."""
        served = []
        while self.row:
            number, size = self.row[0]
            taken = sum(self.held.values())
            if taken and taken + size > LIMIT:
                break
            self.held[number] = size
            served.append(number)
            del self.row[0]
        return served

    def leave(self, number: int) -> None:
        self.held.pop(number, None)
        self.row = [one for one in self.row if one[0] != number]


@given(STEPS)
def test_a_row_is_a_list_of_who_waits(steps: list[tuple[str, int]]) -> None:
    budget, model = MemoryBudget(LIMIT), Model()
    places: dict[int, RoomPlace] = {}
    told: list[int] = []
    for number, (what, value) in enumerate(steps):
        served: list[int] = []
        told.clear()
        match what:
            case "join":
                model.row.append((number, value))
                served = model.settle()
                places[number] = budget.row.join(value, partial(told.append, number))
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
