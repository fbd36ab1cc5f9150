"""The broker of `tidelog.testing` for tests without an event loop."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime, timedelta
from os import PathLike

from tidelog import sync
from tidelog.client import Client
from tidelog.portal import Portal
from tidelog.retry import Retry
from tidelog.testing.in_process import Broker, ManualClock, broker
from tidelog.types import Record


class SyncBroker:
    """A running broker, in a thread of its own. Any thread may call it."""

    def __init__(self, inner: Broker, portal: Portal) -> None:
        """Use `tidelog.testing.sync_broker`."""
        self._inner = inner
        self._portal = portal
        self.client = sync.Client(inner.client, portal)
        """Connected; closed with the broker."""

    @property
    def url(self) -> str:
        """As `Broker.url`."""
        return self._inner.url

    @property
    def kafka(self) -> str:
        """As `Broker.kafka`."""
        return self._inner.kafka

    @property
    def now(self) -> datetime:
        """The node's date."""
        return self._inner.now

    def connect(self, *, client_id: str = "", retry: Retry | None = None) -> sync.Client:
        """As `Broker.connect`; use it in `with`."""
        connect: Callable[[], Client] = lambda: self._inner.connect(  # noqa: E731 - typed
            client_id=client_id, retry=retry
        )
        return sync.Client(self._portal.do(connect), self._portal.lent())

    def advance(
        self,
        by: timedelta = timedelta(0),
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
    ) -> None:
        """As `Broker.advance`."""
        by += timedelta(
            days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds
        )
        self._portal.run(self._inner.advance(by))

    def records(self, topic: str) -> list[Record[bytes, bytes]]:
        """As `Broker.records`."""
        return self._portal.run(self._inner.records(topic))

    def fail_next(
        self, call: str, reason: str, *, times: int = 1, answer_lost: bool = False
    ) -> None:
        """As `Broker.fail_next`."""
        fail: Callable[[], None] = lambda: self._inner.fail_next(  # noqa: E731 - typed
            call, reason, times=times, answer_lost=answer_lost
        )
        self._portal.do(fail)

    def drop(self, *, abruptly: bool = False) -> None:
        """As `Broker.drop`."""
        self._portal.run(self._inner.drop(abruptly=abruptly))


@contextmanager
def sync_broker(
    *,
    clock: ManualClock | None = None,
    directory: str | PathLike[str] | None = None,
    ports: bool = False,
    settings: Mapping[str, str] | None = None,
    retry: Retry | None = None,
) -> Iterator[SyncBroker]:
    """Run a broker of its own for a test without an event loop; options as those of `broker`."""
    portal = Portal()
    running = broker(clock=clock, directory=directory, ports=ports, settings=settings, retry=retry)
    try:
        inner = portal.run(running.__aenter__())
        with _left(running, portal):
            yield SyncBroker(inner, portal)
    finally:
        portal.close()


@contextmanager
def _left(running: AbstractAsyncContextManager[Broker], portal: Portal) -> Iterator[None]:
    """Leave the async block with what ended this one."""
    try:
        yield
    except BaseException as failure:
        portal.run(running.__aexit__(type(failure), failure, failure.__traceback__))
        raise
    portal.run(running.__aexit__(None, None, None))
