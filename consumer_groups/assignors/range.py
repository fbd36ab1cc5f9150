"""The same numbers of every topic to the same member, so that topics can be joined by key.

Each topic is cut into runs of consecutive numbers, one for each member that wants it; the first
members get one more where it does not divide. Members stand in the order of their instance ids,
then of their member ids, so that one which comes back under its instance id gets the same run.
Topics with as many partitions and as many takers are cut alike; nothing else keeps what it had.
"""

from collections.abc import Mapping

from consumer_groups.assignors.candidate import Candidate, Candidates, Targets
from consumer_groups.records import MemberId
from model.ids import PartitionId, TopicId


def by_range(candidates: Candidates, partitions: Mapping[TopicId, int]) -> Targets:
    """Return the targets."""
    in_order = sorted(candidates, key=lambda name: _place(name, candidates[name]))
    given: dict[MemberId, list[PartitionId]] = {name: [] for name in candidates}
    for topic in sorted(partitions):
        takers = [name for name in in_order if topic in candidates[name].topics]
        if not takers:
            continue
        least, more = divmod(partitions[topic], len(takers))
        first = 0
        for place, name in enumerate(takers):
            behind = first + least + (place < more)
            given[name] += [PartitionId(topic, number) for number in range(first, behind)]
            first = behind
    return {name: tuple(run) for name, run in given.items()}


def _place(name: MemberId, candidate: Candidate) -> tuple[bool, str, MemberId]:
    return (candidate.instance_id is None, candidate.instance_id or "", name)
