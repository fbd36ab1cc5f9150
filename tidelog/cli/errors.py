"""`tidelog errors`: cause and remedy of a reason."""

import click

from tidelog.cli.completing import reason_names
from tidelog.cli.failure import CommandFailed
from tidelog.cli.output import Column, Kind
from tidelog.cli.reasons import Reason, known_reasons
from tidelog.cli.run import Run
from tidelog.cli.verb import Verb

COLUMNS = (
    Column("reason"),
    Column("outcome", about="What became of the request: DONE, NOT_DONE, UNKNOWN."),
    Column("retry", about="Whether to send it again: yes, no, refresh first."),
    Column("exit_code", Kind.INTEGER, "EXIT"),
    Column("grpc", title="GRPC", wide=True),
    Column("kafka", Kind.INTEGER, wide=True),
    Column("python", wide=True),
    Column("meaning"),
    Column("hint", wide=True),
)


@click.command(
    cls=Verb,
    columns=COLUMNS,
    examples=("tidelog errors", "tidelog errors DISK_FULL", "tidelog errors NOT_LEADER -F json"),
)
@click.argument("reason", required=False, shell_complete=reason_names)
@click.pass_obj
def errors(run: Run, reason: str | None) -> int:
    """Explain REASON, the word in parentheses behind an error; without it, list them all."""
    if reason is None:
        return run.items(COLUMNS, [_item(row) for row in known_reasons().values()])
    row = _find(reason)
    if run.format != "text":
        return run.items(COLUMNS, [_item(row)])
    style = run.style(run.stdout)
    kafka = "none" if row.kafka is None else str(row.kafka)
    run.write(
        f"{style.bold(row.name)}\n{row.meaning}\n\n"
        f"What to do   {row.hint}\n"
        f"Outcome      {row.outcome}\n"
        f"Retry        {row.retry}\n"
        f"Known as     gRPC {row.grpc}, Kafka {kafka}, Python tidelog.{row.python}, "
        f"exit {row.exit_code}\n"
    )
    return 0


def _find(reason: str) -> Reason:
    name = reason.upper().replace("-", "_")
    row = known_reasons().get(name)
    if row is None:
        from difflib import get_close_matches  # noqa: PLC0415 - only for a wrong word

        near = get_close_matches(name, known_reasons(), n=1)
        hint = (
            f"did you mean {near[0]}? the list is: tidelog errors"
            if near
            else "see: tidelog errors"
        )
        raise CommandFailed(f'there is no reason "{reason}"', hint=hint)
    return row


def _item(row: Reason) -> dict[str, object]:
    return {
        "reason": row.name,
        "outcome": row.outcome,
        "retry": row.retry,
        "exit_code": row.exit_code,
        "grpc": row.grpc,
        "kafka": row.kafka,
        "python": row.python,
        "meaning": row.meaning,
        "hint": row.hint,
    }
