"""pytest fixtures: `pytest_plugins = ["tidelog.testing.fixtures"]` in a `conftest.py`."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tidelog.testing.in_process import Broker, ManualClock, broker


@pytest_asyncio.fixture
async def tidelog_broker() -> AsyncIterator[Broker]:
    """Give a broker of its own, empty, with a clock that the test sets by hand."""
    async with broker(clock=ManualClock()) as running:
        yield running
