"""A broker inside your tests: a whole node, in this process and in memory. Needs tidelog[server].

    from tidelog import testing

    async with testing.broker(clock=testing.ManualClock()) as broker:
        await broker.client.topics.create("orders")
        async with broker.client.producer() as producer:
            await producer.send("orders", b"9.50")
        await broker.advance(minutes=5)
        assert [record.value for record in await broker.records("orders")] == [b"9.50"]

It is the node that `tidelog serve` runs, behind its real gRPC door, which listens on a socket file
here: no port is taken, and tests may run beside each other. `testing.sync_broker` is the same for
tests without an event loop.

For pytest there are fixtures. `pytest_plugins = ["tidelog.testing.fixtures"]` in a `conftest.py`
gives `tidelog_broker` (it takes pytest-asyncio), `"tidelog.testing.sync_fixtures"` gives
`tidelog_sync_broker`: an empty broker with a manual clock for each test.
"""

from tidelog.testing.in_process import Broker, ManualClock, broker
from tidelog.testing.without_await import SyncBroker, sync_broker

__all__ = ["Broker", "ManualClock", "SyncBroker", "broker", "sync_broker"]
