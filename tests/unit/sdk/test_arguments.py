"""Arguments that look right and are not: each refused where it is passed, in words that help."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

import tidelog
from tidelog.headers import headers_of

DAY = datetime(2026, 1, 1, tzinfo=UTC)
CLIENT: Any = tidelog.connect()  # nothing is sent; Any: a program without a type checker
ANY: Any = tidelog
TEXT: Any = "a"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: ANY.TimeRange("2026-01-01", "2026-01-02"),
            "TimeRange.start is '2026-01-01'; pass a datetime",
        ),
        (lambda: ANY.TimeRange(DAY, date(2026, 1, 2)), "TimeRange.end is datetime.date"),
        (
            lambda: ANY.TimeRange(None, 1_767_225_600),
            "TimeRange.end is 1767225600; pass a datetime",
        ),
        (lambda: CLIENT.replay("a", during=(DAY, DAY)), r"pass a TimeRange\(start, end\)"),
        (lambda: CLIENT.replay(["a", "b"]), r"a topic is \['a', 'b'\], not a name.*\*names"),
        (lambda: CLIENT.consumer(["a", "b"], group="g"), r"a topic is \['a', 'b'\], not a name"),
        (
            lambda: CLIENT.consumer("a", group="g", session_timeout=10),
            "session_timeout is 10; pass a timedelta",
        ),
        (
            lambda: CLIENT.consumer("a", group="g", value=dict),
            "value is <class 'dict'>, which has no encode",
        ),
        (
            lambda: CLIENT.consumer("a", group="g", key=str),
            "key is <class 'str'>, which has no decode",
        ),
        (lambda: CLIENT.replay("a", value=ANY.json), "value is <function json.*tidelog.json"),
        (lambda: CLIENT.producer(value=ANY.json), "value is <function json.*tidelog.json"),
        (lambda: CLIENT.producer(linger=0.005), "linger is 0.005; pass a timedelta"),
        (lambda: ANY.Retry(total=5), "Retry.total is 5; pass a timedelta"),
        (lambda: ANY.connect(None), "a url is None; write one text: tidelog://"),
        (lambda: ANY.connect(["localhost:9095"]), r"a url is \['localhost:9095'\]; write one text"),
        (lambda: ANY.connect(retry=5), "retry is 5; pass a Retry"),
        (lambda: headers_of(TEXT), "headers is one text; pass a dict, or pairs"),
    ],
)
def test_what_is_meant_cannot_be_known(call: Callable[[], object], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: CLIENT.topics.create("a", config={"retention.ms": 5}),
            "retention.ms is 5; settings are text: pass '5'",
        ),
        (
            lambda: CLIENT.groups.configure("g", set={"a.b": True}),
            "a.b is True; settings are text: pass 'true'",
        ),
        (
            lambda: CLIENT.groups.seek("g", "earliest", topics="orders"),
            r"topics is 'orders'; pass a list of names, such as \['orders'\]",
        ),
        (
            lambda: CLIENT.groups.offsets("g", topics=[b"orders"]),
            "a topic is b'orders', not a name",
        ),
    ],
)
async def test_calls_refuse_before_they_are_sent(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        await call()


@pytest.mark.parametrize("timestamps", ["floor", "strict"])
async def test_a_time_in_numbers_is_no_event_time(timestamps: str) -> None:
    async with tidelog.connect() as client:
        any_client: Any = client
        async with any_client.producer(timestamps=timestamps) as producer:
            with pytest.raises(TypeError, match=r"a time is 1767225600000; pass a datetime"):
                await producer.send("orders", b"", timestamp=1_767_225_600_000)


def test_a_range_goes_by_its_own_clock() -> None:
    event = tidelog.TimeRange(DAY, DAY + timedelta(days=1))
    append = tidelog.TimeRange(DAY, DAY + timedelta(days=1), clock="append")
    with pytest.raises(ValueError, match=r"TimeRange\(start, end, clock='append'\)"):
        CLIENT.replay("a", during=event, clock="append")
    assert CLIENT.replay("a", during=append, clock="append")
    assert CLIENT.replay("a", during=append)
