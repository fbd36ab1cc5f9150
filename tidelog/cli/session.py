"""A command's time with a cluster: it connects, does its work, and says so when nobody answers."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from tidelog.cli.client_settings import client_settings
from tidelog.cli.failure import CommandFailed, Exit, Terminated

if TYPE_CHECKING:
    from tidelog.cli.run import Run
    from tidelog.client import Client

T = TypeVar("T")

REACH_S: Final = 2.0
"""How long a person waits to learn that no node is there."""


def with_client(
    run: "Run",
    use: "Callable[[Client], Awaitable[T]]",
    *,
    patience: timedelta | None = None,
    reach: timedelta | None = None,
) -> T:
    """Return what `use` makes of a client of the cluster that the settings name.

    `patience`: for as long what may be tried again is; None: as the settings say. `reach`: for as
    long a node is looked for; None: a short time.

    Raises:
        CommandFailed: no node answers, exit 3.
        Terminated: SIGTERM or SIGHUP came.
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
    total = patience or timedelta(milliseconds=int(settings["timeout_ms"].text))
    within = reach or min(total, timedelta(seconds=REACH_S))

    signals: list[int] = []

    async def session() -> T:
        with _ended_in_order(signals):
            async with connect(address, client_id="tidelog-cli", retry=Retry(total=total)) as one:
                await one.ready(within)
                return await use(one)

    try:
        return asyncio.run(session())
    except asyncio.CancelledError:
        if not signals:
            raise
        raise Terminated(signals[0]) from None
    except ConnectError as unreachable:
        raise CommandFailed(
            unreachable.text,
            hint=f"start a node with: tidelog dev; the address is client.address ({origin})",
            reason=unreachable.reason,
            exit_code=Exit.NOT_NOW,
        ) from unreachable


@contextmanager
def _ended_in_order(signals: list[int]) -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this task as Ctrl-C does, and note which of them came.

    So what is printed is committed, and a group is left. The same signal once more ends the process
    at once: also where it stands in a write that nobody reads. Where the process was started deaf
    to one of them (`nohup`) it stays so.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    heard: list[int] = []

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        signals.append(number)
        loop.call_soon_threadsafe(task.cancel)

    if threading.current_thread() is threading.main_thread():  # a signal is the main thread's
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, end)
                heard.append(number)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)
