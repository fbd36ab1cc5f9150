"""A death is proven whichever of a pair's two links is the first to tell of it (P51)."""

import pytest

from cluster.shell.controller_deaths import DeathEvents, Deaths
from cluster.shell.peer_loss import Loss
from model.ids import MonotonicMs, NodeId
from tests.peer_network import MemoryNetwork, hello_of

NODE = NodeId(2)


class Links:
    """Knows since when a node is refused."""

    def __init__(self) -> None:
        self.since: MonotonicMs | None = None

    def refused_since(self, node: NodeId) -> MonotonicMs | None:
        return self.since


class Told(DeathEvents):
    """Notes who is dead."""

    def __init__(self) -> None:
        self.dead_nodes: list[NodeId] = []

    def dead(self, node: NodeId) -> None:
        self.dead_nodes.append(node)


@pytest.mark.parametrize(
    ("incoming", "proven"), [(Loss.RESET, True), (Loss.CLOSED, True), (Loss.SILENT, False)]
)
def test_the_link_that_the_node_dialled_tells_of_its_end_too(incoming: Loss, proven: bool) -> None:
    net, links, told = MemoryNetwork(), Links(), Told()
    deaths = Deaths(net.clock, links, refused_ms=300)  # type: ignore[arg-type]  # what it uses
    deaths.subscribe(told)
    deaths.up(NODE, hello_of(2))
    deaths.went(hello_of(2), 1, incoming)
    deaths.lost(NODE, Loss.LEFT)  # ended here, since the other one was
    links.since = net.clock.monotonic_ms()
    net.clock.advance(300)
    deaths.refused(NODE)
    assert told.dead_nodes == ([NODE] if proven else [])


def test_an_earlier_process_of_the_node_tells_nothing() -> None:
    net, links, told = MemoryNetwork(), Links(), Told()
    deaths = Deaths(net.clock, links, refused_ms=300)  # type: ignore[arg-type]  # what it uses
    deaths.subscribe(told)
    deaths.up(NODE, hello_of(2, incarnation=2))
    deaths.went(hello_of(2, incarnation=1), 1, Loss.RESET)
    links.since = net.clock.monotonic_ms()
    net.clock.advance(300)
    deaths.refused(NODE)
    assert told.dead_nodes == []
