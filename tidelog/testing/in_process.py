"""The broker of `tidelog.testing`: a node, a client of it, and what a test may do to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Final, Literal

from tidelog._launcher import closed
from tidelog.client import Client
from tidelog.clock import SystemClock
from tidelog.connection import Connection, parse_url
from tidelog.places import floor_ms
from tidelog.retry import Retry
from tidelog.types import Record

if TYPE_CHECKING:
    from api.testing.node import TestingNode

_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class ManualClock:
    """Time that stands still until `Broker.advance`: the node's clocks, and the client's date."""

    start: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class _NodeTime(SystemClock):
    """A client's clock with the node's date. Waiting between tries takes its real time."""

    def __init__(self, node: "TestingNode") -> None:
        self._node = node

    def now_ms(self) -> int:
        """Return the node's date: what a record without a time is dated with."""
        return self._node.wall_ms()


class Broker:
    """A running broker. Belongs to the event loop in which it was started."""

    def __init__(self, node: "TestingNode", client: Client) -> None:
        """Use `tidelog.testing.broker`."""
        self._node = node
        self.client = client
        """Connected; closed with the broker."""

    @property
    def url(self) -> str:
        """What `tidelog.connect` takes, for clients of your own: a free port of loopback."""
        host, port = self._node.address
        return f"tidelog://{host}:{port}"

    @property
    def now(self) -> datetime:
        """The node's date."""
        return datetime.fromtimestamp(0, UTC) + self._node.wall_ms() * _MILLISECOND

    async def advance(
        self,
        by: timedelta = timedelta(0),
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
    ) -> None:
        """Let time pass at once; what falls due meanwhile has happened when this returns.

        Raises:
            ValueError: there is no manual clock, or time would run backwards.
        """
        by += timedelta(
            days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds
        )
        await self._node.advance(by // _MILLISECOND)

    async def records(self, topic: str) -> list[Record[bytes, bytes]]:
        """Return everything that a topic holds: partition by partition, in order.

        Raises:
            NotFound: the topic does not exist.
        """
        async with self.client.replay(topic, stop="latest") as history:
            found = [record async for record in history]
        return sorted(found, key=lambda record: (record.partition, record.offset))

    def fail_next(self, call: Literal["produce"], reason: str, *, times: int = 1) -> None:
        """Refuse the next batches with a reason; nothing of them is appended.

        A reason that is retryable is tried again by the SDK, as with any node.

        Raises:
            ValueError: there is no such reason, or the call cannot be made to fail.
        """
        if call != "produce":
            raise ValueError(f'{call!r} cannot be made to fail; there is "produce"')
        self._node.fail_next_produce(reason, times=times)

    async def drop(self) -> None:
        """Close every connection as a node that restarts does; clients come back by themselves."""
        await self._node.shut()
        await self._node.open()


@asynccontextmanager
async def broker(
    *, clock: ManualClock | None = None, retry: Retry | None = None
) -> AsyncIterator[Broker]:
    """Run a broker of its own, with nothing in it.

    `clock`: time stands still until `Broker.advance`; None: it is the machine's. `retry`: of the
    broker's own client.

    Raises:
        ImportError: the server is not installed.
    """
    if (refusal := closed("testing")) is not None:
        what_to_do = refusal[1] or refusal[0]
        raise ImportError(f"tidelog.testing runs a node, which cannot run here: {what_to_do}")
    from api.testing.node import node_in_memory  # noqa: PLC0415 - clients never load the server

    start = None if clock is None else floor_ms(clock.start)
    async with node_in_memory(start) as node:
        host, port = node.address
        connection = Connection(
            parse_url(f"tidelog://{host}:{port}"),
            auth=None,
            client_id="tidelog.testing",
            retry=retry or Retry(),
            clock=_NodeTime(node),
            chance=Random(0),  # noqa: S311 - spreads waits, the same in every run
        )
        async with Client(connection) as client:
            yield Broker(node, client)
