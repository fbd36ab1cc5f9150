"""The one event loop of this process that speaks gRPC: grpc.aio does not do well with several."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import cache
from threading import Thread
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


def start(work: Coroutine[Any, Any, ResultT]) -> "Future[ResultT]":
    """Begin work on the loop, from any other thread."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the loop; it runs in a thread of its own until the process ends."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="grpc", daemon=True).start()
    return loop
