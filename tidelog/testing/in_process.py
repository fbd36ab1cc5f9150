"""The broker of `tidelog.testing`: a node, a client of it, and what a test may do to them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from os import PathLike, fspath
from random import Random
from typing import TYPE_CHECKING, Final

from tidelog._launcher import closed
from tidelog.arguments import settings_of, span_of
from tidelog.client import Client
from tidelog.connection import UNIX_SCHEME, Connection, parse_url
from tidelog.places import aware, floor_ms
from tidelog.retry import Retry
from tidelog.testing.clients_beside import ClientsBeside
from tidelog.testing.node_time import NodeTime
from tidelog.types import Record, datetime_of

if TYPE_CHECKING:
    from api.testing.node import TestingNode

_MILLISECOND: Final = timedelta(milliseconds=1)
CLIENT_ID: Final = "tidelog.testing"


@dataclass(frozen=True, slots=True)
class ManualClock:
    """Time that stands still until `Broker.advance`: the node's clocks, and the client's date."""

    start: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __post_init__(self) -> None:
        """Refuse a naive datetime with ValueError, and what is none with TypeError."""
        aware(self.start)


class Broker:
    """A running broker. Belongs to the event loop in which it was started."""

    def __init__(self, node: "TestingNode", retry: Retry) -> None:
        """Use `tidelog.testing.broker`."""
        self._node = node
        self._retry = retry
        self._clients = ClientsBeside()
        self._loop = asyncio.get_running_loop()
        node.beside = self._clients
        self.client = self.connect(client_id=CLIENT_ID)
        """Connected; closed with the broker."""

    @property
    def url(self) -> str:
        """What `tidelog.connect` and `tidelog.sync.connect` take, also in another process.

        A socket file that goes with the broker; with `ports=True` a free port of loopback.
        """
        host, port = self._node.address
        return f"tidelog://{host}:{port}" if port else f"{UNIX_SCHEME}://{host}"

    @property
    def kafka(self) -> str:
        """`host:port` for Kafka clients.

        Raises:
            ValueError: the broker was started without `ports=True`.
        """
        if self._node.kafka_address is None:
            raise ValueError("there is no Kafka listener; ask for it: testing.broker(ports=True)")
        return "{}:{}".format(*self._node.kafka_address)

    @property
    def now(self) -> datetime:
        """The node's date."""
        return datetime_of(self._node.wall_ms())

    def connect(self, *, client_id: str = "", retry: Retry | None = None) -> Client:
        """Return another client; use it in `async with`. Its records are dated by the node's clock.

        One from `tidelog.connect(broker.url)` has the machine's date.
        """
        connection = Connection(
            parse_url(self.url),
            auth=None,
            client_id=client_id,
            retry=retry or self._retry,
            clock=NodeTime(self._node),
            chance=Random(0),  # noqa: S311 - spreads waits, the same in every run
        )
        self._clients.add(connection)
        return Client(connection)

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

        Timers run in the order of their times, each with the date at which it falls due.

        Raises:
            ValueError: there is no manual clock, or time would run backwards.
            TypeError: a number without its unit.
            RuntimeError: this is not the event loop in which the broker was started.
        """
        self._check_loop()
        by = span_of("by", by) + timedelta(
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

    def fail_next(
        self, call: str, reason: str, *, times: int = 1, answer_lost: bool = False
    ) -> None:
        """Let the next calls fail with a reason of the table of errors.

        `call`: "produce" is the next batch, whoever sends it; else a call of the gRPC API:
        "subscribe" (what `replay` reads by), "create_topic", "resolve_offsets" and so on. Nothing
        of what was asked for is done. With `answer_lost` all of it is done, and the client does not
        learn it: for reasons that leave the outcome open, such as REQUEST_TIMED_OUT.

        A reason that is retryable is tried again by the SDK, as with any node.

        Raises:
            ValueError: there is no such call or reason, or the two do not go together.
        """
        self._node.failures.add(call, reason, times=times, happens=answer_lost)

    async def drop(self, *, abruptly: bool = False) -> None:
        """Close every connection as a node that restarts does; clients come back by themselves.

        `abruptly`: as when a cable is pulled: what is under way gets no answer.
        """
        self._check_loop()
        if abruptly:
            await self._node.cut()
        else:
            await self._node.shut()
        await self._node.open()

    def _check_loop(self) -> None:
        """Refuse another event loop: what is awaited there would never come."""
        if self._loop is not asyncio.get_running_loop():
            raise RuntimeError(
                "the broker belongs to the event loop in which it was started, which is not this "
                "one; with pytest-asyncio give the fixture and the test one loop_scope"
            )


@asynccontextmanager
async def broker(
    *,
    clock: ManualClock | None = None,
    directory: str | PathLike[str] | None = None,
    ports: bool = False,
    settings: Mapping[str, str] | None = None,
    retry: Retry | None = None,
) -> AsyncIterator[Broker]:
    """Run a broker of its own.

    `clock`: time stands still until `Broker.advance`; None: it is the machine's. `directory`: where
    its log is kept, and found again by a later broker; None: in memory, with nothing in it.
    `ports`: listen on free ports of loopback for gRPC and Kafka clients that are not ours; else no
    port is taken. `settings`: of the node, by their names in the reference, such as
    `{"topics.auto_create": "true"}`. `retry`: of the broker's own client.

    Raises:
        ImportError: the server is not installed.
        ValueError: a setting that cannot be.
        TypeError: a clock that is none, a setting that is no text.
    """
    if clock is not None and not isinstance(clock, ManualClock):
        raise TypeError(f"clock is {clock!r}; pass testing.ManualClock()")
    if (refusal := closed("testing")) is not None:
        what_to_do = refusal[1] or refusal[0]
        raise ImportError(f"tidelog.testing runs a node, which cannot run here: {what_to_do}")
    from api.testing.node import Wish, node_for_test  # noqa: PLC0415 - clients load no server

    wish = Wish(
        start_ms=None if clock is None else floor_ms(clock.start),
        directory=None if directory is None else fspath(directory),
        ports=ports,
        settings=settings_of(settings),
    )
    async with node_for_test(wish) as node:
        running = Broker(node, retry or Retry())
        async with running.client:
            yield running
