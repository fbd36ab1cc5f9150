"""How long a command looks for a node, and how long it tries again, are two things."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

import tidelog.client
from tidelog.cli import doctor
from tidelog.cli.failure import CommandFailed
from tidelog.cli.session import REACH_S, with_client
from tidelog.retry import Retry

MINUTE = timedelta(minutes=1)
RUN: Any = SimpleNamespace(overrides=(), environment={"HOME": "/nonexistent"})


class Connected:
    """A client: notes how long it was to look for a node, and to try again."""

    def __init__(self) -> None:
        self.reach = self.total = timedelta(0)

    @asynccontextmanager
    async def connect(self, _: str, *, retry: Retry, **__: Any) -> AsyncIterator["Connected"]:
        self.total = retry.total
        yield self

    async def ready(self, within: timedelta) -> None:
        self.reach = within


async def nothing(_: Any) -> None:
    return


@pytest.mark.parametrize(
    ("terms", "reach", "total"),
    [
        ({"patience": MINUTE}, timedelta(seconds=REACH_S), MINUTE),
        ({"patience": MINUTE, "reach": MINUTE}, MINUTE, MINUTE),
    ],
)
def test_patience_with_a_node_is_none_with_nobody(
    terms: dict[str, timedelta], reach: timedelta, total: timedelta
) -> None:
    """A voter may learn for a minute; that no node is there a person hears at once."""
    connected = Connected()
    with patch.object(tidelog.client, "connect", connected.connect):
        with_client(RUN, nothing, **terms)
    assert (connected.reach, connected.total) == (reach, total)


def test_doctor_says_why_it_tried_no_address_that_kafka_clients_are_told() -> None:
    def refused(*_: Any) -> None:
        raise CommandFailed("no node answers", hint="start one")

    with patch.object(doctor, "with_client", refused):
        (row,) = doctor._told_to_kafka_clients(RUN, 100)
    assert row["state"] == "absent"
    assert "no node answers" in str(row["detail"])
