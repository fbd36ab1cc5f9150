"""What the HTTP door may look at: the broker and the counters of one node; it changes nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from api.broker.broker import Broker
from api.broker.scrubber import Scrubber
from api.door import Address
from api.http.health import Health
from api.loop_lag import LoopLag
from api.settings import NodeSettings
from model.counters import Counters
from model.ids import MonotonicMs


@dataclass(slots=True, kw_only=True)
class NodeView:
    """One node as its pages see it. Loop only."""

    broker: Broker
    settings: NodeSettings
    health: Health
    lag: LoopLag
    version: str
    started: MonotonicMs
    """On the broker's clock."""
    space: Callable[[], tuple[int, int]]
    """Free and total bytes of the file system that holds the log directory."""
    tasks: Callable[[], int]
    """How many tasks of the node run."""
    scrubber: Scrubber | None = None
    """What reads closed segments again."""
    counters: Mapping[str, Counters] = field(default_factory=dict)
    """What components count, by a name for each."""
    addresses: Mapping[str, Address] = field(default_factory=dict)
    """Where the doors listen; filled as they open."""

    @property
    def uptime_ms(self) -> int:
        """Since the node was assembled."""
        return self.broker.context.clock.monotonic_ms() - self.started
