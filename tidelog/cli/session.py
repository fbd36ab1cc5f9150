"""A command's time with a cluster: it connects, does its work, and says so when nobody answers."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from tidelog.cli.client_settings import client_settings
from tidelog.cli.failure import CommandFailed, Exit

if TYPE_CHECKING:
    from tidelog.cli.run import Run
    from tidelog.client import Client

T = TypeVar("T")

REACH_S: Final = 2.0
"""How long a person waits to learn that no node is there."""


def with_client(run: "Run", use: "Callable[[Client], Awaitable[T]]") -> T:
    """Return what `use` makes of a client of the cluster that the settings name.

    Raises:
        CommandFailed: no node answers, exit 3.
        TidelogError: what a node refused.
    """
    # A command that needs no node loads no gRPC.
    import logging  # noqa: PLC0415

    from tidelog.client import connect  # noqa: PLC0415
    from tidelog.errors import ConnectError  # noqa: PLC0415
    from tidelog.retry import Retry  # noqa: PLC0415

    # What the SDK would warn of, the command says itself.
    logging.getLogger("tidelog.client").addHandler(logging.NullHandler())
    settings = client_settings(run.overrides, run.environment)
    address, origin = settings["address"]
    total = timedelta(milliseconds=int(settings["timeout_ms"].text))

    async def session() -> T:
        async with connect(address, client_id="tidelog-cli", retry=Retry(total=total)) as client:
            await client.ready(min(total, timedelta(seconds=REACH_S)))
            return await use(client)

    try:
        return asyncio.run(session())
    except ConnectError as unreachable:
        raise CommandFailed(
            unreachable.text,
            hint=f"start a node with: tidelog dev; the address is client.address ({origin})",
            reason=unreachable.reason,
            exit_code=Exit.NOT_NOW,
        ) from unreachable
