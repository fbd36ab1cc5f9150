"""In which order the answers of one stream leave: by request within a partition, else as they come.

A request waits for those before it that touch a partition of its own, and for no others: one
partition that cannot commit does not hold up the rest of the stream.

Invariants:
    ANSWER_ONCE    a request is finished once, and leaves once.
"""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

RequestT = TypeVar("RequestT", bound=Hashable)


class AnswerOrder(Generic[RequestT]):
    """The requests of one stream that have not been answered. Plain bookkeeping."""

    __slots__ = ("_after", "_finished", "_last", "_places", "_waits_for")

    def __init__(self) -> None:
        """No request is under way."""
        self._last: dict[Hashable, RequestT] = {}
        self._places: dict[RequestT, frozenset[Hashable]] = {}
        self._waits_for: dict[RequestT, int] = {}
        self._after: dict[RequestT, list[RequestT]] = {}
        self._finished: set[RequestT] = set()

    def __len__(self) -> int:
        """Return how many requests have not left."""
        return len(self._places)

    def add(self, request: RequestT, places: Iterable[Hashable]) -> None:
        """Take in the next request of the stream and what it touches."""
        assert request not in self._places, "ANSWER_ONCE"
        touched = frozenset(places)
        before = {self._last[place] for place in touched if place in self._last}
        self._places[request] = touched
        self._waits_for[request] = len(before)
        for earlier in before:
            self._after.setdefault(earlier, []).append(request)
        for place in touched:
            self._last[place] = request

    def finished(self, request: RequestT) -> list[RequestT]:
        """Note that a request has its answer; return those that may leave now, in order."""
        assert request in self._places, "ANSWER_ONCE"
        assert request not in self._finished, "ANSWER_ONCE"
        self._finished.add(request)
        ready = [request] if not self._waits_for[request] else []
        for leaving in ready:  # grows while it is walked
            for later in self._leave(leaving):
                self._waits_for[later] -= 1
                if not self._waits_for[later] and later in self._finished:
                    ready.append(later)
        return ready

    def _leave(self, request: RequestT) -> list[RequestT]:
        for place in self._places.pop(request):
            if self._last[place] == request:
                del self._last[place]
        del self._waits_for[request]
        self._finished.discard(request)
        return self._after.pop(request, [])
