"""The table of cells: a writer, a reader and a feature each; and what was written."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.interop.sample import FEATURES, RECORDS, Told

OK: Final = "ok"
FAIL: Final = "FAIL"


@dataclass(slots=True)
class Written:
    """What one client has written to one topic."""

    topic: str
    began_ms: int = 0
    ended_ms: int = 0
    sample: Sequence[Told] = RECORDS
    failure: str = ""

    def expected(self, read: Sequence[Told], *, dates: bool) -> list[Told]:
        """Return the sample as it should be read: with its dates, or any from while it was sent."""
        if dates:
            return list(self.sample)
        times = [
            one.time_ms if self.began_ms <= one.time_ms <= self.ended_ms else self.began_ms
            for one in read
        ]
        times += [self.began_ms] * len(RECORDS)
        return [
            record._replace(time_ms=time) for record, time in zip(self.sample, times, strict=False)
        ]


@dataclass(slots=True)
class Table:
    """The cells, and why some are not as they should be."""

    cells: dict[tuple[str, str, str], str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def put(self, cell: tuple[str, str, str], wrong: Sequence[str]) -> None:
        """Note what came of a cell."""
        self.cells[cell] = FAIL if wrong else OK
        self.reasons += [f"{' > '.join(cell[:2])}, {cell[2]}: {line}" for line in wrong]

    def whole(self, writers: Sequence[str], readers: Sequence[str]) -> bool:
        """Tell whether every cell of these clients is there, and each of them is ok."""
        wanted = {(w, r, f) for w in writers for r in readers for f in FEATURES}
        return wanted == set(self.cells) and set(self.cells.values()) == {OK}

    def show(self) -> str:
        """Return the table as text."""
        head = f"{'writer':<14}{'reader':<14}" + "".join(f"{name:<18}" for name in FEATURES)
        rows = [head]
        for writer, reader in dict.fromkeys(cell[:2] for cell in self.cells):
            marks = (self.cells[writer, reader, feature] for feature in FEATURES)
            rows.append(f"{writer:<14}{reader:<14}" + "".join(f"{mark:<18}" for mark in marks))
        return "\n".join(rows)
