"""Who waits: until the published metadata reach an entry of the log, or until there is news."""

from asyncio import Future, get_running_loop
from typing import NamedTuple

from model.errors import RequestError
from model.ids import Index


class _Waiter(NamedTuple):
    entry: Index
    future: Future[None]
    changes: bool


class Waiting:
    """Those who wait, in the order in which they came. Loop only."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._waiters: list[_Waiter] = []

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiters)

    def until(self, index: Index, *, changes: bool) -> Future[None]:
        """Return what is done once the metadata reach an entry.

        `changes`: who waits has put an entry into the log; else it only rests on some.
        """
        future: Future[None] = get_running_loop().create_future()
        self.add(index, future, changes=changes)
        return future

    def add(self, index: Index, future: Future[None], *, changes: bool) -> None:
        """Have a future done once the metadata reach an entry."""
        self._waiters.append(_Waiter(index, future, changes))

    def reached(self, index: Index) -> None:
        """Answer everybody up to an entry."""
        due = [waiter for waiter in self._waiters if waiter.entry <= index]
        if not due:
            return
        self._waiters = [waiter for waiter in self._waiters if waiter.entry > index]
        for waiter in due:
            if not waiter.future.done():  # its asker may have gone
                waiter.future.set_result(None)

    def fail(self, changing: RequestError, others: RequestError) -> None:
        """Refuse everybody: those who have changed something, and those who have not."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.future.done():
                why = changing if waiter.changes else others
                waiter.future.set_exception(same(why))


class News:
    """Those who look again at the next tick, or when another leads. Loop only."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._waiters: list[Future[None]] = []

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiters)

    def come(self) -> Future[None]:
        """Return what is done when there is news."""
        future: Future[None] = get_running_loop().create_future()
        self._waiters.append(future)
        return future

    def tell(self) -> None:
        """Let everybody look."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def fail(self, refusal: RequestError) -> None:
        """Refuse everybody."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(same(refusal))


def same(refusal: RequestError) -> RequestError:
    """Return a refusal once more: each asker raises its own."""
    return RequestError(
        refusal.code,
        refusal.detail,
        retry_delay_ms=refusal.retry_delay_ms,
        **refusal.metadata,
    )
