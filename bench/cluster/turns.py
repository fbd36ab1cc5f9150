"""Two clusters on the same cores, of which one runs at a time.

Each round asks each of them everything once, changing who is first; the first round warms the JVMs
up and is not counted. Figures of the same round are neighbours, and a row is made of their ratios.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from bench.cluster.kafka_nodes import KafkaNodes
from bench.cluster.nodes import Nodes, freeze, thaw
from bench.cluster.tidelog_nodes import TidelogNodes
from bench.cluster.topics import settle

MAKERS: Final[Mapping[str, Callable[[Path], Nodes]]] = {
    "tidelog": TidelogNodes,
    "kafka": KafkaNodes,
}
ROUNDS: Final = 5
QUICK_ROUNDS: Final = 2

Figures: TypeAlias = dict[str, list[float]]
"""By name; one of each round."""


class Asking(Protocol):
    """Asks a cluster everything."""

    def __call__(self, nodes: Nodes, *, warming: bool) -> Mapping[str, float]:
        """Return each figure by its name. `warming`: with all the records that takes."""
        ...


@contextmanager
def started(name: str, root: Path) -> Iterator[Nodes]:
    """Run a cluster of that name in a fresh folder.

    Raises:
        Missing: what it needs is not here.
    """
    folder = root / name
    folder.mkdir(parents=True)
    nodes = MAKERS[name](folder)
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.close()


def in_turn(clusters: Sequence[Nodes], ask: Asking, partitions: int, *, rounds: int) -> Figures:
    """Ask clusters that are frozen so often; each is calm before it is asked, and frozen behind."""
    figures: Figures = {}
    for number in range(-1, rounds):
        for nodes in clusters if number % 2 else clusters[::-1]:
            thaw(nodes)
            settle(nodes, partitions)
            told = ask(nodes, warming=number < 0)
            freeze(nodes)
            if number >= 0:
                for name, value in told.items():
                    figures.setdefault(name, []).append(value)
    return figures


@contextmanager
def frozen(
    names: Sequence[str], root: Path, ready: Callable[[Nodes], None]
) -> Iterator[list[Nodes]]:
    """Start clusters one after the other; freeze each once it is `ready`.

    Raises:
        Missing: what one of them needs is not here.
    """
    with ExitStack() as running:
        clusters: list[Nodes] = []
        for name in names:
            nodes = running.enter_context(started(name, root))
            ready(nodes)
            freeze(nodes)
            clusters.append(nodes)
        yield clusters
