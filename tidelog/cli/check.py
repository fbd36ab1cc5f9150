"""`tidelog check`: health for monitoring, with the exit codes of Nagios."""

from enum import IntEnum

import click

from tidelog.cli.client_settings import client_settings, host_and_port
from tidelog.cli.failure import CommandFailed
from tidelog.cli.http_probe import ask
from tidelog.cli.output import Column
from tidelog.cli.run import Run
from tidelog.cli.verb import Noun, Verb


class Nagios(IntEnum):
    """What monitoring expects."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


COLUMNS = (Column("check"), Column("state", about="OK, CRITICAL or UNKNOWN."), Column("detail"))


@click.group(
    cls=Noun,
    examples=("tidelog check self",),
    coming=("cluster", "group", "topic", "disk", "cert"),
)
def check() -> None:
    """Check a node's health: exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""


@check.command(
    name="self",
    cls=Verb,
    columns=COLUMNS,
    examples=("tidelog check self", "tidelog check self -X client.http_address=127.0.0.1:8081"),
)
@click.pass_obj
def check_self(run: Run) -> int:
    """Ask the node here whether it is ready: recovery is done, its listeners are open."""
    settings = client_settings(run.overrides, run.environment)
    address = settings["http_address"].text
    host, port = host_and_port(address, "client.http_address")
    answer = ask(host, port, "/readyz", timeout_ms=int(settings["timeout_ms"].text))
    if answer.status is None:
        state, detail = Nagios.CRITICAL, f"{address}: {answer.text}"
    elif answer.status == 200:
        state, detail = Nagios.OK, "ready"
    elif answer.status == 503:
        state, detail = Nagios.CRITICAL, answer.text.strip() or "not ready"
    else:
        state, detail = Nagios.UNKNOWN, f"{address} answers HTTP {answer.status}: another program?"
    row: dict[str, object] = {"check": "self", "state": state.name, "detail": detail}
    if run.is_json:
        run.items(COLUMNS, [row])
    else:
        run.write(f"{state.name}: {detail}\n")
    if state is not Nagios.OK:
        hint = f"is a node running? its HTTP address is taken from client.http_address ({address})"
        run.tell_failure(CommandFailed(detail, hint=hint))
    return int(state)
