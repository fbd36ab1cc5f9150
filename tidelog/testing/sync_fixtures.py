"""`pytest_plugins = ["tidelog.testing.sync_fixtures"]` in a `conftest.py`: without await."""

from collections.abc import Iterator

import pytest

from tidelog.testing.in_process import ManualClock
from tidelog.testing.without_await import SyncBroker, sync_broker


@pytest.fixture
def tidelog_sync_broker() -> Iterator[SyncBroker]:
    """Give a broker of its own, empty, with a clock that the test sets by hand."""
    with sync_broker(clock=ManualClock()) as running:
        yield running
