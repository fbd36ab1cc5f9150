"""What one measurement says, and the table of them."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of ours, beside a peer's of the same run or beside a bound."""

    question: str
    unit: str
    ours: float | None
    """Median."""
    spread: tuple[float, float] | None = None
    """Least and greatest of what the judged figure was made of: pairs, or rounds."""
    peer: float | None = None
    """Median of the peer; None: the figure is judged by itself."""
    ratio: float | None = None
    """Median over the pairs of ours to the peer's; without a peer, of ours to the bound."""
    at_least: float | None = None
    at_most: float | None = None
    gated: bool = False
    """The run fails if the ratio misses its target."""
    skipped: str = ""
    """Why there is no figure."""
    more: dict[str, float] | None = None
    """More of the same measurement, for the history."""

    @property
    def met(self) -> bool | None:
        """Whether the ratio is where it should be; None: nobody asks, or nobody measured."""
        if self.ratio is None or (self.at_least is None and self.at_most is None):
            return None
        low, high = self.at_least, self.at_most
        return (low is None or self.ratio >= low) and (high is None or self.ratio <= high)

    def to_json(self) -> dict[str, object]:
        """Return what the history keeps."""
        return {**asdict(self), "met": self.met}


def paired(ours: Sequence[float], peer: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Return the median ratio of runs taken in turn, and its least and greatest."""
    ratios = [one / other for one, other in zip(ours, peer, strict=True)]
    return statistics.median(ratios), (min(ratios), max(ratios))


def compared(
    question: str,
    *,
    unit: str,
    ours: Sequence[float],
    peer: Sequence[float],
    at_least: float | None = None,
    at_most: float | None = None,
) -> Row:
    """Return the row of runs that were taken in turn, the first of ours with the peer's first."""
    ratio, spread = paired(ours, peer)
    return Row(
        question=question,
        unit=unit,
        ours=statistics.median(ours),
        peer=statistics.median(peer),
        ratio=ratio,
        spread=spread,
        at_least=at_least,
        at_most=at_most,
    )


def promised(
    question: str,
    *,
    unit: str,
    ours: float,
    most: float,
    spread: tuple[float, float] | None = None,
    more: dict[str, float] | None = None,
) -> Row:
    """Return the row of a promise: a figure held against its bound alone; beyond it the run fails.

    `most` and `spread` are in the unit of `ours`.
    """
    return Row(
        question=question,
        unit=unit,
        ours=ours,
        ratio=ours / most,
        spread=spread,
        at_most=1.0,
        gated=True,
        more=more,
    )


def skipped(question: str, why: str) -> Row:
    """Return the row of what cannot be measured here."""
    return Row(question=question, unit="", ours=None, skipped=why)


HEAD = f"{'what':46} {'ours':>10} {'peer':>10}  {'ratio':>6}  {'spread':>13}  target"


def line(row: Row) -> str:
    """Return a row of the table."""
    if row.skipped:
        return f"{row.question:46} skipped: {row.skipped}"
    spread = "" if row.spread is None else f"{row.spread[0]:.3g}..{row.spread[1]:.3g}"
    if row.at_least is not None:
        target = f">= {row.at_least:.3g}"
    else:
        target = "" if row.at_most is None else f"<= {row.at_most:.3g}"
    verdict = {None: "", True: "met", False: "MISSED" if row.gated else "not met"}[row.met]
    return (
        f"{f'{row.question}, {row.unit}':46} {_short(row.ours):>10} {_short(row.peer):>10}"
        f"  {_short(row.ratio):>6}  {spread:>13}  {target} {verdict}"
    ).rstrip()


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if value < 10_000 else f"{value:,.0f}"
