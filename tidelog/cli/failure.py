"""How a command fails: what, why, what to do about it, and with which exit code."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line (docs/reference/cli-contract.md)."""

    DONE = 0
    FAILED = 1
    """Also if one item of many failed."""
    USAGE = 2
    """Also: refused for want of --yes, not built yet."""
    NOT_NOW = 3
    """Unreachable, no leader, disk full, timed out; or the outcome is unknown."""
    CONFIGURATION = 10
    DIRECTORY_FAILED = 11
    FENCED = 12
    NEWER_FORMAT = 13
    INTERRUPTED = 130
    SIGNALLED = 128
    """And the number of the signal: 143 for SIGTERM, 129 for SIGHUP."""


class CommandFailed(Exception):  # noqa: N818 - says what happened
    """Ends a command, or one item of it. The text names the thing; the hint is an instruction."""

    def __init__(
        self,
        text: str,
        *,
        hint: str | None = None,
        reason: str | None = None,
        exit_code: int = Exit.FAILED,
        outcome: str = "NOT_DONE",
    ) -> None:
        """Keep what is shown; `reason` is a name from docs/reference/errors.md."""
        super().__init__(text)
        self.text = text
        self.hint = hint
        self.reason = reason
        self.exit_code = exit_code
        self.outcome = outcome

    def to_json(self) -> dict[str, object]:
        """Return the row of `errors` in the JSON envelope."""
        return {
            "reason": self.reason,
            "text": self.text,
            "hint": self.hint,
            "outcome": self.outcome,
            "exit_code": int(self.exit_code),
        }


class Terminated(BaseException):
    """The process was told to end, and has ended its work in order."""

    def __init__(self, signal: int) -> None:
        """Keep the number of the signal."""
        super().__init__(signal)
        self.signal = signal


class Usage(CommandFailed):
    """The command line itself is wrong."""

    def __init__(self, text: str, *, hint: str | None = None) -> None:
        """Say what is wrong with it, and what would be right."""
        super().__init__(text, hint=hint, exit_code=Exit.USAGE)


def not_built(what: str) -> CommandFailed:
    """Return the refusal of something that a later release brings."""
    return CommandFailed(
        f"{what} is not built yet",
        hint="docs/reference/cli.md lists what this release does",
        reason="NOT_IMPLEMENTED",
        exit_code=Exit.USAGE,
    )
