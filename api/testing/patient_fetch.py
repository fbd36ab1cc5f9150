"""Waits that end in real time too: a client's own clock runs while the node's stands."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from api.broker.broker import Broker
from api.broker.consume import Consume
from api.broker.fetch import Done, Fetch, Fetched, Want
from api.broker.read_on import ReadOn
from api.broker.subscribe import Subscribe
from model.ids import MonotonicMs
from model.principal import Principal


def wait_in_real_time(broker: Broker) -> None:
    """Let every reader of a node whose clock is turned wait so.

    Members of groups are given signs of life in real time alone: that is how they wait for them.
    """
    broker.fetch = PatientFetch(broker.context)
    broker.read_on = ReadOn(broker.context, broker.fetch, broker.searches)
    broker.subscribe = Subscribe(broker.context, broker.read_on, broker.searches)
    clock = broker.context.clock

    def remind(when: MonotonicMs, wake: Callable[[], None]) -> Callable[[], None]:
        left_s = max(0, when - clock.monotonic_ms()) / 1000
        return asyncio.get_running_loop().call_later(left_s, wake).cancel

    doors = replace(broker.consume.doors, read_on=broker.read_on, remind=remind)
    broker.consume = Consume(doors, broker.consume.configs)


class PatientFetch(Fetch):
    """The use case. Where no time passes, a reader that waits is answered when its own is up."""

    def __call__(
        self,
        principal: Principal,
        wants: Sequence[Want],
        *,
        min_bytes: int,
        max_bytes: int,
        max_wait_ms: int,
        done: Done,
    ) -> Callable[[], None]:
        """Answer as soon as there is enough, or `max_wait_ms` are over on either clock."""

        def answer(fetched: Sequence[Fetched]) -> None:
            real.cancel()
            done(fetched)

        def time_is_up() -> None:
            cancel()
            super(PatientFetch, self).__call__(
                principal, wants, min_bytes=0, max_bytes=max_bytes, max_wait_ms=0, done=done
            )

        def forget() -> None:
            real.cancel()
            cancel()

        real = asyncio.get_running_loop().call_later(max_wait_ms / 1000, time_is_up)
        cancel = super().__call__(
            principal,
            wants,
            min_bytes=min_bytes,
            max_bytes=max_bytes,
            max_wait_ms=max_wait_ms,
            done=answer,
        )
        return forget
