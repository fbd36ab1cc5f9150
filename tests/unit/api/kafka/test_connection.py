"""One client's connection: order, limits, garbage; every case without a socket."""

from struct import pack

import pytest

from api.kafka_settings import KafkaSettings
from tests.kafka_door import LATER, NOW, POLL, Script, answers, request

IN_FLIGHT = 5
SMALL = KafkaSettings(
    requests_in_flight_max=IN_FLIGHT, connection_buffer_bytes_max=1000, read_buffer_bytes=4096
)


def test_answers_leave_in_the_order_of_the_requests() -> None:
    script = Script()
    script.send(*(request(LATER, 2, n) for n in range(3)))
    script.answer(2)
    script.answer(1)
    assert script.answered == []
    script.answer(0)
    assert script.answered == [(0, b"done"), (1, b"done"), (2, b"done")]


def test_what_is_ready_in_one_tick_leaves_in_one_write() -> None:
    script = Script()
    script.send(*(request(NOW, 2, n, b"x") for n in range(20)))
    assert len(script.transport.writes) == 1
    assert script.answered == [(n, b"x") for n in range(20)]


def test_a_lone_answer_leaves_at_once_and_others_together() -> None:
    script = Script()
    script.send(request(LATER, 2, 0))
    script.handlers.waiting[0].respond(b"at once")
    assert script.answered == [(0, b"at once")], "nothing can join it"
    script.send(*(request(LATER, 2, n) for n in range(1, 4)))
    for waiting in script.handlers.waiting[1:]:
        waiting.respond(b"together")
    assert len(script.transport.writes) == 1
    script.tick.end()
    assert len(script.transport.writes) == 2
    assert [correlation_id for correlation_id, _ in script.answered] == [0, 1, 2, 3]


def test_flexible_versions_have_tagged_fields_in_both_headers() -> None:
    script = Script()
    script.send(request(NOW, 9, 1, b"body", tagged=True), request(NOW, 8, 2, b"body"))
    assert script.answered == [(1, b"\0body"), (2, b"body")]


def test_tagged_fields_of_a_header_are_passed_over() -> None:
    script = Script()
    script.send(request(NOW, 9, 1, b"\x02\x00\x01a\x7f\x02bc" + b"body"))
    assert script.answered == [(1, b"\0body")]


def test_no_more_requests_are_taken_than_may_be_in_flight() -> None:
    script = Script(SMALL)
    script.send(*(request(LATER, 2, n) for n in range(12)))
    assert len(script.handlers.waiting) == IN_FLIGHT
    script.answer(1)
    assert len(script.handlers.waiting) == IN_FLIGHT, "the first still holds its place"
    script.answer(0)
    assert len(script.handlers.waiting) == IN_FLIGHT + 2
    for position in range(2, 12):
        script.answer(position)
    assert [correlation_id for correlation_id, _ in script.answered] == list(range(12))


def test_a_waiting_fetch_holds_back_what_follows_it() -> None:
    script = Script()
    script.send(request(NOW, 2, 0), request(POLL, 2, 1), request(NOW, 2, 2), request(NOW, 2, 3))
    assert script.answered == [(0, b"")]
    assert len(script.handlers.bodies) == 2
    script.answer(0, b"records")
    assert script.answered == [(0, b""), (1, b"records"), (2, b""), (3, b"")]


def test_answers_that_wait_for_their_turn_are_bounded() -> None:
    script = Script(SMALL)
    script.send(request(LATER, 2, 0), *(request(NOW, 2, n, b"x" * 600) for n in range(1, 5)))
    assert len(script.handlers.bodies) == 3, "the first, and two answers of 600 bytes"
    script.answer(0)
    assert len(script.handlers.bodies) == 5
    assert [correlation_id for correlation_id, _ in script.answered] == list(range(5))


def test_an_answer_in_parts_is_counted_as_long_as_it_is() -> None:
    script = Script()
    script.send(request(LATER, 2, 0), request(LATER, 2, 1))
    script.handlers.waiting[1].respond_parts([b"rec", b"ords"])
    assert script.connection.waiting_bytes == len(pack(">ii", 0, 0) + b"records")
    script.answer(0)
    assert script.connection.waiting_bytes == 0


def test_a_client_that_goes_away_cancels_its_wait_and_late_answers_reach_nobody() -> None:
    script = Script()
    script.send(request(LATER, 2, 0), request(POLL, 2, 1))
    script.transport.lose()
    assert script.handlers.cancelled == 1
    script.answer(0)
    assert script.answered == []


def test_a_stopping_node_answers_what_it_accepted_and_waits_for_no_poll() -> None:
    script = Script()
    script.send(request(LATER, 2, 0), request(POLL, 2, 1))
    script.connection.stop()
    script.tick.end()
    assert script.handlers.cancelled == 1
    assert not script.transport.closing
    script.answer(0)
    assert script.answered == [(0, b"done")]
    assert script.transport.closing and not script.transport.aborted


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x00",
        b"GET / HTT",
        pack(">hhih", NOW, 2, 7, 100),
        pack(">hhih", NOW, 9, 7, -1),  # flexible, without tagged fields
        pack(">hhih", NOW, 9, 7, -1) + b"\x01\x00\xff\xff\xff\xff\x0f",
        pack(">hhih", NOW, 2, 7, 0) + b"garbage",
    ],
)
def test_garbage_ends_the_connection_after_the_answers_that_are_due(garbage: bytes) -> None:
    script = Script()
    script.send(request(NOW, 2, 1), request(LATER, 2, 2), pack(">i", len(garbage)) + garbage)
    script.send(request(NOW, 2, 3))
    assert script.parts.counters.malformed == 1
    assert script.parts.log.events == ["kafka_request_malformed"]
    assert not script.transport.closing
    script.answer(0)
    assert script.answered == [(1, b""), (2, b"done")]
    assert script.transport.closing and not script.transport.aborted


def test_a_request_longer_than_its_kind_may_be_is_malformed() -> None:
    script = Script()
    script.send(request(NOW, 2, 1, b"x" * (1 << 16)))
    assert script.parts.counters.malformed == 1
    assert script.transport.closing


@pytest.mark.parametrize(("key", "version"), [(NOW, 1), (NOW, 10), (99, 0), (-1, 3), (8, 2)])
def test_what_is_not_served_ends_the_connection_with_a_line(key: int, version: int) -> None:
    script = Script()
    script.send(request(NOW, 2, 1), request(key, version, 2))
    assert script.answered == [(1, b"")]
    assert script.transport.closing
    assert script.parts.counters.unsupported == 1
    assert script.parts.log.lines == [
        (
            "kafka_api_unsupported",
            {"host": "192.0.2.7", "client_id": "test", "key": key, "version": version},
        )
    ]


@pytest.mark.parametrize("version", [5, 6, 99, 32767, -1])
def test_an_unknown_version_of_api_versions_is_answered_in_v0_and_may_be_asked_again(
    version: int,
) -> None:
    script = Script()
    script.send(request(18, version, 7, b"\0whatever it says", tagged=True))
    refusal = pack(">hihhh", 35, 1, 18, 0, 4)
    assert script.answered == [(7, refusal)]
    script.send(request(18, 0, 8))
    assert script.answered[1][0] == 8
    assert not script.transport.closing


def test_too_long_a_request_is_refused_on_its_length() -> None:
    script = Script(KafkaSettings(request_bytes_max=1024))
    script.send(pack(">i", 1025))
    assert script.parts.counters.oversized == 1
    assert script.parts.log.events == ["kafka_request_too_large"]
    assert script.transport.closing


def test_the_client_is_known_by_what_it_calls_itself() -> None:
    script = Script()
    script.send(request(NOW, 2, 1, client_id=b"app-1"))
    assert script.connection.principal.client_id == "app-1"
    assert script.connection.principal.host == "192.0.2.7"
    script.send(request(NOW, 2, 2, client_id=b"a\nb\xff" + b"x" * 5000))
    client_id = script.connection.principal.client_id
    assert client_id.startswith("a\\nb") and client_id.isprintable() and len(client_id) == 249
    script.send(pack(">ihhih", 10, NOW, 2, 3, -1))
    assert script.connection.principal.client_id == ""
    assert len(answers(b"".join(script.transport.writes))) == 3


def test_a_slow_reader_is_not_served_further() -> None:
    script = Script(SMALL, reads_answers=False)
    for n in range(50):
        script.send(request(NOW, 2, n, b"x" * 200))
    served = len(script.handlers.bodies)
    assert served < 10
    script.transport.drained()
    script.tick.end()
    assert served < len(script.handlers.bodies) < 20
