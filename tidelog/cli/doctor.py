"""`tidelog doctor`: one block to paste into a question."""

import platform
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import click

from tidelog import _launcher
from tidelog.cli.client_settings import addresses, client_settings, host_and_port
from tidelog.cli.failure import CommandFailed
from tidelog.cli.http_probe import ask
from tidelog.cli.output import Column
from tidelog.cli.run import Run
from tidelog.cli.session import with_client
from tidelog.cli.verb import Verb

if TYPE_CHECKING:
    from tidelog.client import Client
    from tidelog.types import ClusterInfo

COLUMNS = (
    Column("what"),
    Column("state", about="ok, failed, or absent."),
    Column("detail"),
)
LIBRARIES = ("grpcio", "protobuf", "click", "msgspec")
OPTIONAL = ("fastcrc", "zstandard", "uvloop", "kio", "starlette")
KAFKA_LISTENERS = ("kafka", "external")
DOORS = {"gRPC": "address", "Kafka": "kafka_address", "HTTP": "http_address"}

Row = dict[str, object]


@click.command(cls=Verb, columns=COLUMNS, examples=("tidelog doctor", "tidelog doctor -F json"))
@click.pass_obj
def doctor(run: Run) -> int:
    """Print versions, settings and what is reachable from here. Changes nothing.

    Also tried are the addresses that Kafka clients are told, of every node and listener: a client
    that cannot reach those of the listener by which it comes in connects once and then hangs.
    """
    settings = client_settings(run.overrides, run.environment)
    timeout_ms = min(2_000, int(settings["timeout_ms"].text))
    rows = _programs()
    reachable = False
    for door, name in DOORS.items():
        text, origin = settings[name]
        for address in addresses(text):
            state, detail = _reach(address, timeout_ms)
            reachable = reachable or state == "ok"
            shown = f"{address} ({origin}): {detail}"
            rows.append({"what": door, "state": state, "detail": shown})
    host, port = host_and_port(settings["http_address"].text, "client.http_address")
    rows.append(_ready(host, port, timeout_ms))
    if any(row["what"] == "gRPC" and row["state"] == "ok" for row in rows):
        rows += _told_to_kafka_clients(run, timeout_ms)
    if run.format == "text":
        run.tell("no secrets are in this block; paste it as it is")
    run.items(COLUMNS, rows)
    return 0 if reachable else 3


def _programs() -> list[Row]:
    """Return the versions of what runs here."""
    rows: list[Row] = [
        {"what": "tidelog", "state": "ok", "detail": _launcher.release()},
        {"what": "python", "state": "ok", "detail": sys.version.split()[0]},
        {"what": "platform", "state": "ok", "detail": platform.platform()},
    ]
    refusal = _launcher.closed("serve")
    rows.append(
        {
            "what": "server",
            "state": "ok" if refusal is None else "absent",
            "detail": "installed" if refusal is None else refusal[1] or refusal[0],
        }
    )
    for name in (*LIBRARIES, *OPTIONAL):
        try:
            rows.append({"what": name, "state": "ok", "detail": version(name)})
        except PackageNotFoundError:
            state = "absent" if name in OPTIONAL else "failed"
            rows.append({"what": name, "state": state, "detail": "not installed"})
    return rows


def _reach(address: str, timeout_ms: int) -> tuple[str, str]:
    """Tell whether anybody listens there."""
    host, port = host_and_port(address, "address")
    try:
        with socket.create_connection((host, port), timeout=timeout_ms / 1000):
            return "ok", "reachable"
    except TimeoutError:
        return "failed", f"no answer within {timeout_ms} ms"
    except OSError as error:
        return "failed", error.strerror or str(error)


def _told_to_kafka_clients(run: Run, timeout_ms: int) -> list[Row]:
    """Return for each node and Kafka listener whether its address leads anywhere from here."""
    from tidelog.errors import TidelogError  # noqa: PLC0415 - it loads gRPC

    async def work(client: "Client") -> "ClusterInfo":
        return await client.cluster.get()

    try:
        found = with_client(run, work)
    except (CommandFailed, TidelogError) as refusal:  # another program has the port, or so
        detail = f"not tried, no node told any: {refusal}"
        return [{"what": "Kafka as told", "state": "absent", "detail": detail}]
    rows: list[Row] = []
    for broker in found.brokers:
        for listener in KAFKA_LISTENERS:
            address = broker.endpoints.get(listener)
            if address is not None:
                state, detail = _reach(address, timeout_ms)
                what = f"node {broker.id} {listener}"
                rows.append({"what": what, "state": state, "detail": f"{address}: {detail}"})
    return rows


def _ready(host: str, port: int, timeout_ms: int) -> Row:
    answer = ask(host, port, "/readyz?verbose", timeout_ms=timeout_ms)
    lines = " ".join(answer.text.split())
    state = "ok" if answer.status == 200 else "failed"
    return {"what": "ready", "state": state, "detail": lines[:400]}
