"""Plain counters: what a component counts about itself, read by whoever publishes it.

A component names its counters as slots of a subclass and adds to them where the thing happens.
There is no registry, no lock and no label: one owner writes, one loop reads.
"""


class Counters:
    """Integers that begin at 0 and, but for the few that are gauges, only grow.

    class JournalCounters(Counters):
        __slots__ = ("rounds", "written_bytes")
        rounds: int
        written_bytes: int
    """

    __slots__: tuple[str, ...] = ()

    def __init__(self) -> None:
        """Begin every counter at 0."""
        for name in self._names():
            setattr(self, name, 0)

    def snapshot(self) -> dict[str, int]:
        """Return name to value, in the order of declaration; later counting does not change it."""
        return {name: getattr(self, name) for name in self._names()}

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        """Return the slots of the class and of those it extends, the base's first."""
        return tuple(
            name
            for base in reversed(cls.__mro__)
            if issubclass(base, Counters)
            for name in base.__slots__
        )
