"""What was acknowledged, held against what is read: nothing lost, doubled, or out of order."""

from typing import Final

Acknowledged = dict[int, list[tuple[int, int]]]
"""By partition: offset and number of each record, in the order of the acknowledgements."""
UNPLACED: Final = -1
"""Stands for the offset of a record that is acknowledged without one: the answer was lost, and that
of a later one shows a producer of librdkafka that it is there."""
Numbers = dict[int, dict[int, int]]
"""By partition and offset: the number that a record holds."""

OTHERS: Final = 0
"""Numbers below are not of the load."""


def faults(
    acknowledged: Acknowledged,
    read: Numbers,
    seen: Numbers | None = None,
    *,
    all_told: bool = False,
) -> list[str]:
    """Return in what way the records that were acknowledged are not those that are read.

    Only the partitions that were read are looked at. More may be read than was acknowledged: what
    became of a record may have been unknown; not so if `all_told`. `seen`: what a consumer that
    reads along was shown.
    """
    wrong = []
    for partition, found in read.items():
        told = acknowledged.get(partition, [])
        unplaced = {number for offset, number in told if offset == UNPLACED}
        there = unplaced.intersection(found.values())
        lost = [row for row in told if found.get(row[0]) != row[1] and row[1] not in there]
        ours = [found[offset] for offset in sorted(found) if found[offset] >= OTHERS]
        shown = (seen or {}).get(partition, {})
        changed = [offset for offset, number in shown.items() if found.get(offset) != number]
        doubled = len(ours) - len(set(ours))
        rest = found.keys() - {offset for offset, _ in told}
        strange = sum(found[offset] not in there for offset in rest) if all_told else 0
        if lost:
            wrong.append(f"partition {partition}: {len(lost)} lost, first {lost[0]}")
        if doubled:
            wrong.append(f"partition {partition}: {doubled} doubled")
        if ours != sorted(ours):
            wrong.append(f"partition {partition}: not in the producer's order")
        if changed:
            wrong.append(f"partition {partition}: {len(changed)} are not what was shown")
        if strange:
            wrong.append(f"partition {partition}: {strange} that nobody was told of")
    return wrong
