"""Where the end lay when members joined who begin there: kept for those that resume.

Somebody else may have a partition then, and give it up after the member's stream has broken: it
begins there where the end was at its join, whichever stream it is told over. Nothing of this is a
record. Where another node has become the coordinator, or this one began anew, nobody knows it any
more: the member begins such a partition at its beginning; more comes then, and nothing is skipped.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from consumer_groups.records import MemberId
from model.ids import GroupId, Offset, PartitionId

NOWHERE: Final[Mapping[PartitionId, Offset]] = MappingProxyType({})


class StartsAtJoin:
    """Those of the members that this node coordinates, as long as they are some. Loop only."""

    def __init__(self) -> None:
        """Know of nobody."""
        self._of: dict[tuple[GroupId, MemberId], Mapping[PartitionId, Offset]] = {}

    def __len__(self) -> int:
        """Return of how many members something is kept."""
        return len(self._of)

    def note(
        self, group: GroupId, member_id: MemberId, starts: Mapping[PartitionId, Offset]
    ) -> None:
        """Keep where a member that has joined begins; nothing where that is not from the end."""
        if starts:
            self._of[group, member_id] = starts

    def of(self, group: GroupId, member_id: MemberId) -> Mapping[PartitionId, Offset]:
        """Return where a member begins; empty: it did not say so here."""
        return self._of.get((group, member_id), NOWHERE)

    def forget(self, group: GroupId, member_id: MemberId) -> None:
        """Its tenure is over, or goes on elsewhere."""
        self._of.pop((group, member_id), None)

    def clear(self) -> None:
        """Forget everybody."""
        self._of.clear()
