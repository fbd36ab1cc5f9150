"""Addresses, and who may be told what over which way."""

from datetime import timedelta
from unittest.mock import patch

import pytest

import tidelog
from tests.sdk_clock import FastClock, client_of
from tidelog.connection import TRY_S_MIN, Addresses, Node, parse_url
from tidelog.errors import ConnectError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("tidelog://a:1", Addresses(("a:1",))),
        ("tidelog://a:1,b:2 , c", Addresses(("a:1", "b:2", "c:9095"))),
        ("tidelogs://a", Addresses(("a:9095",), tls=True)),
        ("a:1", Addresses(("a:1",))),
        ("tidelog://[::1]:7/", Addresses(("[::1]:7",))),
        ("tidelog://[::1]", Addresses(("[::1]:9095",))),
        ("tidelog+unix:///tmp/a", Addresses(("unix:///tmp/a",))),
    ],
)
def test_addresses(url: str, expected: Addresses) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    "url",
    ["", "http://a:1", "tidelog://", "tidelog://a:0", "tidelog://a:x", "tidelog://u@a:1", "a:1,"],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="write tidelog://"):
        parse_url(url)


def test_a_socket_file_is_named_in_full() -> None:
    with pytest.raises(ValueError, match=r"write tidelog\+unix:///path"):
        parse_url("tidelog+unix://tmp/a")


def test_proof_of_identity_goes_over_tls_only() -> None:
    for auth in (tidelog.Auth.password("u", "secret"), tidelog.Auth.bearer("secret")):
        with pytest.raises(ValueError, match="TLS only"):
            tidelog.connect("tidelog://a", auth=auth)
        assert "secret" not in repr(auth)


def test_proof_of_identity_is_made_anew_for_every_call() -> None:
    tokens = iter(["one", "two"])
    client = tidelog.connect("tidelogs://a", auth=tidelog.Auth.bearer(lambda: next(tokens)))
    sent = [dict(client.connection.metadata())["authorization"] for _ in range(2)]
    assert sent == ["Bearer one", "Bearer two"]
    basic = tidelog.connect("tidelogs://a", auth=tidelog.Auth.password("user", "pw"))
    assert dict(basic.connection.metadata())["authorization"] == "Basic dXNlcjpwdw=="


@pytest.mark.parametrize(
    ("total_s", "allowed_s"), [(60.0, [5.0, 5.0, 5.0]), (12.0, [5.0, 5.0, 2.0]), (0.0, [5.0])]
)
async def test_one_try_takes_no_longer_than_the_budget_has_left(
    total_s: float, allowed_s: list[float]
) -> None:
    """A node that takes the connection and then says nothing uses up all that it is given."""
    clock = FastClock()
    given: list[float] = []

    async def silent(node: Node, within_s: float) -> bool:
        given.append(round(within_s))
        clock.passed_s += within_s
        return False

    client = client_of("nowhere", clock=clock)
    with patch.object(Node, "connect", silent), pytest.raises(ConnectError):
        await client.ready(timedelta(seconds=total_s))
    assert given[:3] == allowed_s
    assert clock.passed_s <= max(total_s, 5.0) + TRY_S_MIN


async def test_who_reaches_nobody_is_told_once_that_it_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And again only after somebody has answered."""
    clock = FastClock()
    answers = False

    async def tried(node: Node, within_s: float) -> bool:
        clock.passed_s += 0.0 if answers else min(within_s, 1.0)
        return answers

    client = client_of("nowhere:1", clock=clock)
    with patch.object(Node, "connect", tried):
        with pytest.raises(ConnectError):
            await client.ready(timedelta(seconds=2))
        assert caplog.messages == []
        for _ in range(2):
            with pytest.raises(ConnectError):
                await client.ready(timedelta(seconds=60))
        (told,) = caplog.messages
        assert told.startswith("no node answers at nowhere:1; trying for 5")
        answers = True
        await client.ready(timedelta(seconds=60))
        answers = False
        with pytest.raises(ConnectError):
            await client.ready(timedelta(seconds=60))
    assert len(caplog.messages) == 2
