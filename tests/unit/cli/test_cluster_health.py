"""What `cluster health` says that waits for what nobody tells it."""

import asyncio
from collections.abc import AsyncGenerator
from io import BytesIO, StringIO, TextIOWrapper
from types import SimpleNamespace
from typing import Any

import pytest

from tidelog.cli.cluster_health import _Following
from tidelog.cli.failure import CommandFailed, Exit
from tidelog.cli.run import Run


class Silent:
    """A cluster of which no first state comes."""

    async def watch(self) -> AsyncGenerator[Any, None]:
        await asyncio.Event().wait()
        yield


async def test_where_nothing_was_seen_in_time_that_is_said_and_not_nothing() -> None:
    """Else `-F json` would print no document, and no reason."""
    run = Run(environment={}, stdout=TextIOWrapper(BytesIO()), stderr=StringIO())
    following = _Following(run, watch=False, until_healthy=True, within=0)
    client: Any = SimpleNamespace(cluster=Silent())
    await following(client)
    with pytest.raises(CommandFailed, match="no node told how the cluster is within 0 s") as failed:
        following.ended()
    assert failed.value.exit_code == Exit.NOT_NOW
    assert failed.value.reason == "NO_QUORUM"
    assert "client.address" in str(failed.value.hint)
