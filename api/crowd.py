"""The clients of a door, or of several that share their limits: all of them, and by address."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Crowd:
    """Who is connected. Loop only."""

    size: int = 0
    by_host: Counter[str] = field(default_factory=Counter)

    def enter(self, host: str) -> None:
        """One more."""
        self.size += 1
        self.by_host[host] += 1

    def leave(self, host: str) -> None:
        """One less."""
        self.size -= 1
        self.by_host[host] -= 1
        if not self.by_host[host]:
            del self.by_host[host]
