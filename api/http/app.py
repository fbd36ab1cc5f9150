"""The HTTP door: an ASGI application, served inside the node's own loop.

uvicorn's protocol is used without its server, whose loop wakes ten times a second: here an idle
node is not woken at all. Every answer carries headers that leave a page nothing to load, run or be
framed by but itself.
"""

import asyncio
from importlib.resources import files
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from api.door import Address, DoorTaken
from api.http import metrics
from api.http.status_page import StatusPage
from api.http.view import NodeView
from api.settings import HttpListener, split_address
from model.limits import HANDSHAKE_MS_MAX, UNAUTHENTICATED_REQUEST_BYTES_MAX

KEEP_ALIVE_S: Final = 15
STOP_S_MAX: Final = 2
HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
STYLE_SHEET: Final = "static/status.css"


class Pages:
    """What the paths answer. Loop only."""

    def __init__(self, view: NodeView) -> None:
        """Answer about the node of `view`."""
        self._view = view
        self._page: StatusPage | None = None

    def routes(self) -> list[Route]:
        """Return the paths; all only read."""
        return [
            Route("/", self.status, methods=["GET"]),
            Route("/livez", self.livez, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route(f"/{STYLE_SHEET}", self.style_sheet, methods=["GET"]),
        ]

    async def status(self, request: Request) -> Response:
        """Show the node."""
        del request
        self._page = self._page or StatusPage(self._view)
        return HTMLResponse(self._page.render())

    async def livez(self, request: Request) -> Response:
        """Tell that the event loop answers: that is all it asks for."""
        del request
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Tell whether clients may come; with `?verbose`, each check."""
        health = self._view.health
        status = 200 if health.is_ready else 503
        if "verbose" in request.query_params:
            return PlainTextResponse("".join(f"{line}\n" for line in health.lines()), status)
        return PlainTextResponse("ok\n" if status == 200 else f"{health.why_not()}\n", status)

    async def healthz(self, request: Request) -> Response:
        """Tell the same as JSON."""
        del request
        health = self._view.health
        if health.is_ready:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "not ready", "why": health.why_not()}, 503)

    async def metrics(self, request: Request) -> Response:
        """Publish every metric."""
        every = request.query_params.get("detail") == "partition"
        return Response(
            metrics.render(self._view, every_partition=every), media_type=metrics.CONTENT_TYPE
        )

    async def style_sheet(self, request: Request) -> Response:
        """Return the page's one style sheet."""
        del request
        text = files(__package__).joinpath(STYLE_SHEET).read_text(encoding="utf-8")
        return Response(text, media_type="text/css; charset=utf-8")


class WithHeaders:
    """Adds `HEADERS` to every answer, errors among them."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        await self._app(scope, receive, with_headers)


class HttpConnection(H11Protocol):
    """One client; one that sends no request within ten seconds is hung up on (P57)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._silence = self.loop.call_later(HANDSHAKE_MS_MAX.value / 1000, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._silence.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.close()


class HttpDoor:
    """The listener. Loop only."""

    name: Final = "http"

    def __init__(self, settings: HttpListener, view: NodeView) -> None:
        """Show `view` at the address of the settings, which is not none."""
        assert settings.bind is not None, "HTTP_DOOR_HAS_ADDRESS"
        self._host, self._port = split_address(settings.bind)
        app = WithHeaders(Starlette(routes=Pages(view).routes()))
        self._config = Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            limit_concurrency=settings.connections_max,
            h11_max_incomplete_event_size=UNAUTHENTICATED_REQUEST_BYTES_MAX.value,
        )
        self._health = view.health
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def start(self) -> Address:
        """Bind and serve.

        Raises:
            DoorTaken: the address is in use or not ours.
        """
        loop = asyncio.get_running_loop()
        self._config.load()
        try:
            self._server = await loop.create_server(
                lambda: HttpConnection(self._config, self._state, {}, loop), self._host, self._port
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise DoorTaken(self.name, Address(self._host, self._port), why) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        return Address(str(host), int(port))

    async def drain(self) -> None:
        """Go on, and tell probes that the node is stopping: nobody new shall come."""
        self._health.stopping()

    async def stop(self) -> None:
        """Accept no more, finish the answers under way, hang up."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=STOP_S_MAX)
        for connection in list(self._state.connections):
            connection.transport.abort()
