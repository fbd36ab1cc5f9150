"""What a strike against a node has done: how long nothing was acknowledged, and what was kept."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

from bench.rows import Row

GAP_S_MAX: Final = {"kill": 3.0, "stop": 0.3}
KAFKA_SHARE_MAX: Final = 0.3
WORDS: Final = {"kill": "kill -9 of a leader", "stop": "controlled stop"}


class Ack(NamedTuple):
    """One record's."""

    at_s: float
    """On the monotonic clock."""
    partition: int
    number: int
    sent_s: float


class Kept(NamedTuple):
    """What was read back, beside what was acknowledged."""

    lost: int
    doubled: int


class Strike(NamedTuple):
    """What one has done."""

    gap_s: float
    kept: Kept
    failed: int
    led_quorum: bool


def longest_gap_s(acks: Sequence[Ack], *, since_s: float) -> float:
    """Return the longest time without an ack of some partition that ended after a moment."""
    longest = 0.0
    for partition in {one.partition for one in acks}:
        times = sorted(one.at_s for one in acks if one.partition == partition)
        gaps = [later - one for one, later in pairwise(times) if later > since_s]
        longest = max([longest, *gaps])
    return longest


def kept(acks: Iterable[Ack], read: Iterable[tuple[int, int]]) -> Kept:
    """Compare what was acknowledged with the partition and number of each record that is there."""
    there = Counter(read)
    acknowledged = {(one.partition, one.number) for one in acks}
    doubled = sum(times > 1 for times in there.values())
    return Kept(len(acknowledged - there.keys()), doubled)


def victim_of(leading: set[int], controls: int, number: int) -> int:
    """Choose among those who lead: every other time who leads the quorum too, else who does not."""
    others = sorted(leading - {controls})
    if controls in leading and (number % 2 == 0 or not others):
        return controls
    return others[number % len(others)]


def rows(how: str, ours: list[Strike], peer: list[Strike] | None) -> Iterator[Row]:
    """Yield the longest gap by itself and beside the peer's, then what was lost or doubled."""
    gaps = [one.gap_s for one in ours]
    quorum = sum(one.led_quorum for one in ours)
    what = f"{WORDS[how]}, longest of {len(gaps)}"
    bound = GAP_S_MAX[how]
    yield Row(
        question=what,
        unit="s",
        ours=max(gaps),
        ratio=max(gaps) / bound,
        spread=(min(gaps) / bound, max(gaps) / bound),
        at_most=1.0,
        more={"median_s": median(gaps), "led_the_quorum": quorum},
    )
    if peer is not None:
        theirs = [one.gap_s for one in peer]
        yield Row(
            question=what,
            unit="s",
            ours=max(gaps),
            peer=max(theirs),
            ratio=max(gaps) / max(theirs),
            spread=(min(gaps) / max(theirs), max(gaps) / min(theirs)),
            at_most=KAFKA_SHARE_MAX if how == "kill" else None,
            more={"kafka_median_s": median(theirs)},
        )
    for name, strikes in (("tidelog", ours), ("kafka", peer or [])):
        if strikes:
            yield _kept_row(f"{WORDS[how]}, {name}, lost or doubled", strikes, name)


def _kept_row(question: str, strikes: list[Strike], name: str) -> Row:
    bad = sum(one.kept.lost + one.kept.doubled for one in strikes)
    return Row(
        question=question,
        unit="records",
        ours=bad,
        ratio=bad,
        at_most=0.0 if name == "tidelog" else None,
        gated=name == "tidelog",
        more={"refused": sum(one.failed for one in strikes)},
    )
