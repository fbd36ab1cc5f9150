"""What readers keep open and in memory, over all partitions: files, rows, tails. Loop only."""

from collections import OrderedDict

from logstore.segment import Segment
from logstore.settings import LogSettings


class ReadCache:
    """The segments used last; what others hold open or in memory is given back."""

    __slots__ = ("_loaded", "_open", "_settings", "tails_bytes")

    def __init__(self, settings: LogSettings) -> None:
        """Begin with nothing."""
        self._settings = settings
        self._open: OrderedDict[Segment, None] = OrderedDict()
        self._loaded: OrderedDict[Segment, None] = OrderedDict()
        self.tails_bytes = 0
        """Batches in memory, over all partitions, as of each one's last round."""

    def use(self, segment: Segment) -> None:
        """Note that a segment's file and rows are about to be used."""
        self._open[segment] = None
        self._open.move_to_end(segment)
        if len(self._open) > self._settings.open_files_max:
            # Not closed: a read in the pool may use it. The last one to let go closes it.
            self._open.popitem(last=False)[0].reader = None
        if segment.sealed:
            self.sealed(segment)

    def sealed(self, segment: Segment) -> None:
        """Note a sealed segment that may have rows in memory."""
        self._loaded[segment] = None
        self._loaded.move_to_end(segment)
        if len(self._loaded) > self._settings.loaded_segments_max:
            self._loaded.popitem(last=False)[0].forget_rows()

    def forget(self, segment: Segment) -> None:
        """Let go of a segment that is deleted."""
        self._open.pop(segment, None)
        self._loaded.pop(segment, None)
        segment.remove()

    @property
    def tail_allowance(self) -> int:
        """How many bytes of a partition stay in memory once they are on disk."""
        full = self.tails_bytes > self._settings.tails_bytes_max
        return 0 if full else self._settings.tail_bytes
