"""Any bytes as what a client sends to the HTTP door: its protocol and its pages, of a real node.

No page may answer that it has failed, and nothing may be left to the event loop's own handler.
"""

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import Any, Final, cast

from uvicorn.server import ServerState

from api.config_file import load
from api.http.app import Gate, HttpConnection, configured
from api.http.health import CHECKS, Health
from api.http.view import NodeView
from tests.broker_node import broker_node
from tests.wire_transport import RecordingTransport

BASE_NS: Final = 60_000_000
"""A scrape of all metrics, which every request of many in one input may ask for."""
TURNS: Final = 6
"""Of the loop, after which a request that never waits is answered."""
REQUEST: Final = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
PATHS: Final = (
    b"/", b"/livez", b"/readyz?verbose", b"/healthz", b"/metrics?detail=partition",
    b"/static/status.css", b"/nothing", b"/static/../static/%2e%2e/status.css",
)  # fmt: skip


class _Door:
    """A node without other doors, and what serves its pages."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._left_over)
        self.failures: list[object] = []
        self._stack = AsyncExitStack()
        # It notes every request that is none, which here is most of them.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.loop.run_until_complete(self._start())

    async def _start(self) -> None:
        running = await self._stack.enter_async_context(broker_node())
        await running.create("orders")
        health = Health()
        for check in CHECKS:
            health.passed(check)
        clock = running.broker.context.clock
        view = NodeView(
            broker=running.broker, settings=load().settings, health=health, lag=running.node.lag,
            version="test", started=clock.monotonic_ms(), tasks=lambda: 1,
            space=lambda: (1, 2),
        )  # fmt: skip
        self.config = configured(view)
        self.gate = Gate(view, connections_max=10, per_address_max=10)

    def _left_over(self, _loop: object, context: dict[str, Any]) -> None:
        self.failures.append(context.get("exception", context["message"]))

    async def serve(self, data: bytes) -> bytes:
        """Return what a client that sends these bytes and hangs up was answered."""
        connection = HttpConnection(self.config, ServerState(), self.gate)
        transport = _Transport(cast(Any, connection))
        connection.data_received(data)
        for _ in range(TURNS):
            turn = self.loop.create_future()
            self.loop.call_soon(turn.set_result, None)
            await turn
        transport.closing = True
        connection.connection_lost(None)
        return b"".join(transport.writes)


class _Transport(RecordingTransport):
    """Of a protocol that takes its bytes whole."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return addresses, which uvicorn logs and shows to the pages."""
        return ("192.0.2.7", 40_000) if name in {"peername", "sockname"} else default

    def pause_reading(self) -> None:
        """Everything has been read already."""

    def resume_reading(self) -> None:
        """Nothing more comes."""


@lru_cache(maxsize=1)
def _door() -> _Door:
    return _Door()


def samples() -> list[bytes]:
    """Return a request for each page, two in a row, one with a body and one in chunks."""
    each = [REQUEST % path for path in PATHS]
    body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    chunks = b"PUT /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    old = b"HEAD /readyz HTTP/1.0\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n"
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    return [*each, each[1] + each[3], body, chunks, old, upgrade]


def fuzz(data: bytes) -> None:
    """Send the bytes on a connection of their own; asyncio never delivers none."""
    if not data:
        return
    door = _door()
    answer = door.loop.run_until_complete(door.serve(data))
    assert not door.failures, door.failures
    assert not answer or answer.startswith(b"HTTP/1.1 "), "no HTTP answer"
    assert b"HTTP/1.1 500 " not in answer, "a page failed"
