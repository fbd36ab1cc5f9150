"""What the HTTP door answers: an ASGI application, and the protocol that serves it.

Every answer carries headers that leave a page nothing to load, run or be framed by but itself.
"""

import asyncio
from importlib.resources import files
from typing import Final

from h11 import LocalProtocolError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from api.crowd import Crowd
from api.http import metrics
from api.http.status_page import StatusPage
from api.http.view import NodeView
from model.limits import HANDSHAKE_MS_MAX, UNAUTHENTICATED_REQUEST_BYTES_MAX

KEEP_ALIVE_S: Final = 15
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
            damage = [f"[i] damage: {place}" for place in self._view.broker.context.damage.places]
            lines = health.lines() + damage
            return PlainTextResponse("".join(f"{line}\n" for line in lines), status)
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
        detail = request.query_params.getlist("detail")
        groups = await self._view.broker.group_figures(every_group="group" in detail)
        page = metrics.render(self._view, groups, every_partition="partition" in detail)
        return Response(page, media_type=metrics.CONTENT_TYPE)

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


class Gate:
    """How many may be connected, of one address and in all (P54). Loop only."""

    def __init__(self, view: NodeView, *, connections_max: int, per_address_max: int) -> None:
        """Let nobody in yet."""
        self._note = view.broker.context.note
        self._max, self._per_address_max = connections_max, per_address_max
        self._crowd = Crowd()

    def enter(self, host: str) -> bool:
        """Count a client in; False: it is one too many, and is not counted."""
        crowd = self._crowd
        if crowd.size >= self._max or crowd.by_host[host] >= self._per_address_max:
            self._note("http_connection_refused", host=host, connections=crowd.size)
            return False
        crowd.enter(host)
        return True

    def leave(self, host: str) -> None:
        """Count a client out."""
        self._crowd.leave(host)


class HttpConnection(H11Protocol):
    """One client; one that sends no request within ten seconds is hung up on (P57)."""

    def __init__(self, config: Config, state: ServerState, gate: "Gate") -> None:
        """Serve whom `gate` lets in."""
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self._gate = gate
        self._host: str | None = None
        self._silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request, or hang up."""
        super().connection_made(transport)
        host = str((transport.get_extra_info("peername") or ("",))[0])
        if not self._gate.enter(host):
            transport.abort()
            return
        self._host = host
        self._silence = self.loop.call_later(HANDSHAKE_MS_MAX.value / 1000, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._silence is not None:
            self._silence.cancel()
        if self._host is not None:
            self._gate.leave(self._host)
            self._host = None
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; hang up where an answer may have no body, as to a HEAD."""
        try:
            super().send_400_response(msg)
        except LocalProtocolError:  # from a body that does not parse, behind a head that did
            self.transport.close()

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.close()


def configured(view: NodeView) -> Config:
    """Return how uvicorn's protocol serves the pages of a node."""
    config = Config(
        WithHeaders(Starlette(routes=Pages(view).routes())),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        h11_max_incomplete_event_size=UNAUTHENTICATED_REQUEST_BYTES_MAX.value,
    )
    config.load()
    return config
