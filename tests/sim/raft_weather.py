"""What one seed of the simulated quorum is like: every seed mixes its own rare and frequent."""

from random import Random
from typing import Any

from cluster.raft.limits import RaftLimits


class Weather:
    """Network, disks, and how much happens."""

    def __init__(self, choose: Random) -> None:
        def pick(*choices: Any) -> Any:
            return choose.choice(choices)

        self.loss = pick(0.0, 0.01, 0.1, 0.3)
        self.doubled = pick(0.0, 0.02, 0.2)
        self.late = pick(0.0, 0.01, 0.05)
        """How many messages take seconds."""
        self.delay_ms = pick(5, 40, 100)
        """All others take up to so long."""
        self.sync_ms = pick(2, 20, 200)
        self.stuck = pick(0.0, 0.0, 0.01, 0.05)
        """How many jobs of a disk take up to two seconds."""
        self.pace_ms = pick(60, 160)
        """Something happens at least so often."""
        self.snapshot_entries = pick(4, 20, 1_000)
        self.snapshot_padding = pick(0, 100, 500)
        """Bytes that make a snapshot worth several chunks."""

    def clear_up(self) -> None:
        """Let everything work from here on."""
        self.loss = self.doubled = self.late = self.stuck = 0.0
        self.delay_ms, self.sync_ms = 10, 5


def some_limits(choose: Random) -> RaftLimits:
    """Return limits so small that everything is reached."""
    return RaftLimits(
        append_bytes_max=choose.choice((1, 60, 2_000)),
        window_appends_max=choose.choice((1, 3, 64)),
        window_bytes_max=choose.choice((10, 200, 10_000)),
        snapshot_chunk_bytes=choose.choice((40, 200)),
        kept_entries=choose.choice((0, 5, 50)),
        delivered_entries_max=choose.choice((1, 7, 1_000)),
        promotion_lag_max=5,
    )
