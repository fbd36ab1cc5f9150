"""The judge of deliveries: a group that was served well passes, each fault is told."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.deliveries import Era, Judgement, judge
from tests.clients.program import Event
from tests.clients.stored import Log, Stored

SEEK_EPOCH = 3
LOG: Log = {0: [Stored(0, at, 10 * at, 1_000 + at, f"k{at}", f"v{at}") for at in range(8)]}
ERAS = [Era(0, {0: 0}, {0: 8}), Era(SEEK_EPOCH, {0: 5}, {0: 8})]
Traces = dict[str, list[Event]]


def joined(epoch: int, member: str = "m") -> Event:
    return {"event": "joined", "member_id": member, "member_epoch": epoch}


def at(name: str, offset: int) -> Event:
    return {"event": name, "partition": 0, "offset": offset}


def record(offset: int, **more: Any) -> Event:
    names = ("partition", "offset", "timestamp_ms", "append_time_ms", "key", "value")
    told = dict(zip(names, LOG[0][offset], strict=True))
    return {"event": "record"} | told | more


def event(name: str) -> Event:
    return {"event": name, "status": "UNAVAILABLE", "reason": None}


def served() -> Traces:
    """One is cut off after a commit of 2 and gets 2 again; the other takes over; then a seek."""
    one = [joined(1), at("assigned", 0), record(0), record(1), record(2), at("committed", 2)]
    one += [event("cut"), joined(1), at("assigned", 2), record(2), record(3), at("committed", 4)]
    one += [joined(2), {"event": "revoked", "partition": 0}, joined(3), event("left")]
    two = [joined(2), at("assigned", 4), *map(record, range(4, 8)), at("committed", 8)]
    two += [event("fenced"), joined(4), at("assigned", 5), *map(record, range(5, 8))]
    two += [at("committed", 8), event("left")]
    return {"one": one, "two": two}


def judged(traces: Traces) -> Judgement:
    return judge(traces, LOG, ERAS)


def test_a_group_that_was_served_at_least_once_passes() -> None:
    assert judged(served()) == ([], 12, 1)


def without(member: str, number: int) -> Callable[[Traces], None]:
    return lambda traces: traces[member].__delitem__(number)


def changed(member: str, number: int, new: Event) -> Callable[[Traces], None]:
    return lambda traces: traces[member].__setitem__(number, new)


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (without("one", 10), "0/4 committed and not yet printed"),  # record 3 never came
        (without("two", 3), "record 0/6 comes where 5 is next"),
        (changed("two", 1, at("assigned", 5)), "begins at 5, 4 was never delivered"),
        (changed("one", 8, at("assigned", 1)), "begins at 1, 2 was committed"),
        (changed("one", 5, at("committed", 4)), "0/4 committed and not yet printed"),
        (changed("two", 6, at("committed", 3)), "commit of 3 after 4"),
        (without("two", -2), "delivered to 8, committed to 5, not to 8"),
        (changed("two", 0, joined(1)), "one and two have it"),
        (changed("two", 2, record(4, value="other")), "is not what the log has there"),
        (changed("two", 2, record(4, timestamp_ms=None)), "is not what the log has there"),
        (changed("two", 9, at("assigned", 4)), "begins at 4, 5 was committed"),
        (changed("two", 9, at("assigned", 6)), "begins at 6, 5 was never delivered"),
        (changed("one", 6, {"event": "revoked", "partition": 0}), None),  # no fault by itself
        (lambda traces: traces["one"].insert(-1, record(3)), "that it does not hold"),
        (lambda traces: traces["one"].insert(3, event("gap")), "one: {'event': 'gap'"),
    ],
)
def test_each_fault_is_told(plant: Callable[[Traces], None], told: str | None) -> None:
    traces = served()
    plant(traces)
    wrong = judged(traces).wrong
    assert any(told in line for line in wrong) if told else not wrong, wrong
