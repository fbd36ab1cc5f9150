"""What the checks have found: a bounded list of every anomaly, and the count of all."""

from collections import Counter
from typing import Final, NamedTuple

from tests.chaos.checks.rules import RULES

OF_A_RULE_MAX: Final = 20
"""Anomalies of one kind that are told in full; the rest is counted."""


class Anomaly(NamedTuple):
    """One thing that must not be."""

    rule: str
    at: str
    """Topic and partition; or the group, or the client, where no partition is meant."""
    text: str
    """With the records, by producer, number and offset."""
    clients: tuple[str, ...]
    """Whose files say so."""

    def __str__(self) -> str:
        """Return it for people."""
        rule = RULES[self.rule]
        who = ", ".join(self.clients)
        return f"{self.rule} ({rule.promise}) in {self.at}: {self.text} [said by {who}]"


class Report:
    """Takes anomalies and counts."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.anomalies: list[Anomaly] = []
        self.counts: Counter[str] = Counter()
        self.found: Counter[str] = Counter()

    def tell(self, rule: str, at: str, text: str, *clients: str) -> None:
        """Add an anomaly; the clients that are named twice are told once."""
        self.found[rule] += 1
        if self.found[rule] <= OF_A_RULE_MAX:
            self.anomalies.append(Anomaly(rule, at, text, tuple(dict.fromkeys(clients))))
