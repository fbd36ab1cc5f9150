"""Is the node alive, and may clients come? Answers to probes; nothing here depends on other nodes.

If readiness waited for others, a rolling restart would block itself: each node would wait for the
ones that wait for it.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

CHECKS: Final = ("recovery", "metadata", "storage", "listeners")
"""What must be done before a node is ready, in the order in which it happens."""


class Check(NamedTuple):
    """One thing, and how it stands."""

    passed: bool
    detail: Callable[[], str]


class Health:
    """The checks of one node, set by whoever starts and stops it. Loop only."""

    def __init__(self) -> None:
        """Begin with nothing done."""
        self._checks = {name: Check(passed=False, detail=lambda: "not yet") for name in CHECKS}
        self._notes: dict[str, Callable[[], str]] = {}
        self._stopping = False

    def passed(self, name: str, detail: str | Callable[[], str] = "done") -> None:
        """Note that one of `CHECKS` is as it should be; `detail` may change, as with `note`."""
        self._set(name, Check(passed=True, detail=_asked(detail)))

    def failed(self, name: str, detail: str) -> None:
        """Note that one of `CHECKS` is not: the node is not ready from here on."""
        self._set(name, Check(passed=False, detail=_asked(detail)))

    def note(self, name: str, detail: str | Callable[[], str]) -> None:
        """Show something with the checks that decides nothing: the controller, an open door.

        `detail` may change: then it is asked for each time.
        """
        self._notes[name] = _asked(detail)

    def stopping(self) -> None:
        """Send no new clients here: the node is about to end."""
        self._stopping = True

    @property
    def is_ready(self) -> bool:
        """Whether clients may come."""
        return not self._stopping and all(check.passed for check in self._checks.values())

    def lines(self) -> list[str]:
        """Return each check for people, `[+]` where it passed."""
        rows = [
            f"[{'+' if check.passed else '-'}] {name}: {check.detail()}"
            for name, check in self._checks.items()
        ]
        if self._stopping:
            rows.append("[-] running: the node is stopping")
        return rows + [f"[i] {name}: {detail()}" for name, detail in self._notes.items()]

    def why_not(self) -> str:
        """Return the first thing that is not as it should be; empty if the node is ready."""
        if self._stopping:
            return "the node is stopping"
        for name, check in self._checks.items():
            if not check.passed:
                return f"{name}: {check.detail()}"
        return ""

    def _set(self, name: str, check: Check) -> None:
        assert name in CHECKS, "HEALTH_CHECK_IS_LISTED"
        self._checks[name] = check


def _asked(detail: str | Callable[[], str]) -> Callable[[], str]:
    return detail if callable(detail) else lambda: detail
