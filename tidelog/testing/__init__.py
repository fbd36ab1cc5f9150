"""A broker inside your tests: a whole node, in this process and in memory. Needs tidelog[server].

    from tidelog import testing

    async with testing.broker(clock=testing.ManualClock()) as broker:
        await broker.client.topics.create("orders")
        async with broker.client.producer() as producer:
            await producer.send("orders", b"9.50")
        await broker.advance(minutes=5)
        assert [record.value for record in await broker.records("orders")] == [b"9.50"]

For pytest there is the fixture `tidelog_broker`, which takes pytest-asyncio: put
`pytest_plugins = ["tidelog.testing.fixtures"]` into your `conftest.py`.
"""

from tidelog.testing.in_process import Broker, ManualClock, broker

__all__ = ["Broker", "ManualClock", "broker"]
