"""Processes end as the table of exit codes says, without a traceback, and not without a word."""

from typing import Final

from tests.chaos.checks.report import Report
from tests.chaos.history import Exited, Killed

CODES: Final = frozenset({0, 1, 2, 3, 10, 11, 12, 13, 130})
"""docs/reference/cli-contract.md"""


class Exits:
    """Judges how processes end."""

    def __init__(self, report: Report) -> None:
        """Begin with nobody killed."""
        self._report = report
        self._killed: set[str] = set()
        self.handlers = {Killed: self._kill, Exited: self._exited}

    def _kill(self, client: str, event: Killed) -> None:
        self._killed.add(event.who)

    def _exited(self, client: str, event: Exited) -> None:
        was_killed = event.who in self._killed
        self._killed.discard(event.who)
        self._report.counts["processes ended"] += 1
        if event.code not in CODES and not (event.code < 0 and was_killed):
            self._wrong(client, event, f"it ended with {event.code}")
        if event.traceback:
            self._wrong(client, event, "its log shows a traceback")
        if event.mute and event.code > 0:
            self._wrong(client, event, f"it ended with {event.code} and without a word")

    def _wrong(self, client: str, event: Exited, text: str) -> None:
        self._report.tell("wrong-exit", event.who, text, client)
