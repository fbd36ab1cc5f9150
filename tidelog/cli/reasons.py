"""The table of reasons as the command line knows it: hint, exit code, what became of the request.

The table is `tidelog/reasons.json`, printed from the node's own (`make docs`); it is read when the
first error is told.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

from tidelog.cli.failure import CommandFailed, Exit

TABLE: Final = "reasons.json"


class Reason(NamedTuple):
    """One row."""

    name: str
    meaning: str
    hint: str
    outcome: str
    retry: str
    exit_code: int
    grpc: str
    kafka: int | None
    python: str


@cache
def reasons() -> Mapping[str, Reason]:
    """Return every reason of a node by its name."""
    from importlib.resources import files  # noqa: PLC0415 - 15 ms that a success saves

    text = files("tidelog").joinpath(TABLE).read_text(encoding="utf-8")
    return {row["name"]: Reason(**row) for row in json.loads(text)}


OWN: Final = {
    row.name: row
    for row in (
        Reason(
            "UNREACHABLE", "No address of a node could be connected to; nothing was sent.",
            "Start a node, or name the address of one: -X client.address=HOST:PORT.",
            "NOT_DONE", "yes", Exit.NOT_NOW, "none", None, "ConnectError",
        ),
        Reason(
            "CONNECTION_LOST", "The connection broke before an answer came.",
            "Look whether it took effect; repeat only what is idempotent.",
            "UNKNOWN", "yes", Exit.NOT_NOW, "none", None, "OutcomeUnknown",
        ),
        Reason(
            "LOG_GAP", "Retention or a trim removed records before they were read.",
            "Read on from the offset that the message names; keep history longer: retention.ms.",
            "NOT_DONE", "no", Exit.FAILED, "none", None, "LogGap",
        ),
        Reason(
            "LOG_DIVERGED", "Records that were read were cut off by an unclean election.",
            "Undo what was made of them from the offset that the message names, and read on there.",
            "NOT_DONE", "no", Exit.FAILED, "none", None, "LogDiverged",
        ),
    )
}  # fmt: skip
"""Reasons that only a client has: no node answers with them."""


@cache
def known_reasons() -> Mapping[str, Reason]:
    """Return every reason that a person may meet, by its name."""
    return {**reasons(), **OWN}


def failure_of(error: Exception) -> CommandFailed | None:
    """Return what to tell of an error that a node, or the way to it, has answered with.

    Such an error has the attributes of the SDK's `TidelogError`: reason, outcome, metadata.
    """
    reason = getattr(error, "reason", None)
    metadata = getattr(error, "metadata", None)
    if not isinstance(reason, str) or not isinstance(metadata, Mapping):
        return None
    outcome = getattr(error, "outcome", None)
    outcome = str(getattr(outcome, "name", outcome)).upper().replace(" ", "_")
    return failed(reason, str(error), outcome=outcome, metadata=metadata)


def failed(
    reason: str,
    text: str,
    *,
    outcome: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> CommandFailed:
    """Return the failure of a reason, with its hint; one of a newer node has none."""
    row = known_reasons().get(reason)
    text = text.removeprefix(f"{reason}: ").removesuffix(f" ({reason})")
    if row is None:
        code = Exit.NOT_NOW if outcome == "UNKNOWN" else Exit.FAILED
        return CommandFailed(text, reason=reason, exit_code=code, outcome=outcome or "UNKNOWN")
    return CommandFailed(
        text,
        hint=_hint(row, metadata or {}, text),
        reason=reason,
        exit_code=Exit.NOT_NOW if outcome == "UNKNOWN" else row.exit_code,
        outcome=outcome or row.outcome,
    )


def _hint(row: Reason, metadata: Mapping[str, str], text: str) -> str:
    """Return what to do; the name that was probably meant in front, unless the text has it."""
    hint = row.hint
    if row.name == "UNKNOWN_TOPIC" and "topic" in metadata:
        hint = f"create it with: tidelog topic create {metadata['topic']}"
    near = metadata.get("did_you_mean")
    if near and f'did you mean "{near}"' not in text:
        return f'did you mean "{near}"? {hint}'
    return hint
