"""Faults planted on purpose, and that the model sees: each is what someone might write.

Most are one line in a core, put there through its own module; a few are the controller's, whose
part in the model is plain.
"""

from dataclasses import dataclass
from typing import Any, Final

import pytest

from cluster.controller import election
from cluster.controller.election import Roster
from cluster.controller.image import PartitionImage
from cluster.peer.replica import Batches, Diverging, Progress, Refused
from cluster.replication.events import Truncate
from cluster.replication.follower import Effect, PartitionFollower, Phase
from cluster.replication.known_follower import KnownFollower
from cluster.replication.leader import PartitionLeader
from cluster.replication.leadership import BeginEpoch, Leadership, LogStands, Role
from cluster.replication.log_state import EpochTable, Extent
from cluster.replication.truncation import Parting
from model.ids import AppendTimeMs, NodeId, Offset, RegistrationEpoch
from tests.models.replication_steps import Draft
from tests.planted import HIGH_WATERMARK


@dataclass(frozen=True)
class Fault:
    """What is put where."""

    where: object
    """A module or a class."""
    name: str
    planted: Any


def takes_a_gap(self: PartitionFollower, batches: Batches) -> list[Effect]:
    return _take(self, batches._replace(start=self._ends.log))


def hears_an_older_epoch(
    self: PartitionFollower, frame: Batches | Diverging | Refused
) -> list[Effect]:
    return _frame(self, frame._replace(leader_epoch=self._leader_epoch))


def cuts_to_its_mark(self: PartitionFollower) -> list[Effect]:
    """What KIP-101 ended: whoever follows drops at once what it does not know to be committed."""
    end = self._high_watermark
    if self.phase is Phase.CUTTING or end == self._ends.log:
        return _open(self)
    self.phase = Phase.CUTTING
    self._ends = type(self._ends)(*(min(one, end) for one in self._ends))
    return [Truncate(end)]


def believes_that_logs_match(*_: object, **__: object) -> None:
    return None


def cuts_by_offset_alone(_: EpochTable, extent: Extent, at: Parting) -> Offset:
    return min(at.end_offset, extent.log_end)


def tells_its_own_time(_: PartitionLeader, own: AppendTimeMs, __: object) -> AppendTimeMs:
    return own


def goes_without_a_word(*_: object) -> None:
    return None


def reports_what_it_has_not_written(self: PartitionFollower) -> list[Effect]:
    end = self._ends.log
    told = (self._node, self._registration_epoch, self._leader_epoch)
    return [Progress(*told, end, end, end)] if self.phase is Phase.FOLLOWING else []


def joins_below_the_epoch(self: PartitionLeader, known: KnownFollower) -> bool:
    return known.matched and known.ends.written >= self._high_watermark


def may_join_under_any_registration(
    self: Draft, node: NodeId, registration: RegistrationEpoch
) -> bool:
    return registration > 0 and self.up[node - 1]


def hears_any_registration(
    self: KnownFollower, progress: Progress, *, log_end: Offset, now: Any
) -> bool:
    told = progress._replace(registration_epoch=self.registration_epoch)
    return _reported(self, told, log_end=log_end, now=now)


def elects_an_unclean_member(row: PartitionImage, roster: Roster) -> NodeId | None:
    return _clean_heir(row._replace(unclean=()), roster)


def elects_before_all_are_known(row: PartitionImage, roster: Roster) -> NodeId | None:
    known = {one.node: one.recovered for one in row.unclean if one.recovered is not None}
    able = [node for node in known if node in roster.fit]
    return max(able, key=lambda node: known[node]) if able else None


def forgets_that_it_restarted(row: PartitionImage, node: NodeId) -> PartitionImage:
    after = _restarted_unclean(row, node)
    return after._replace(unclean=tuple(one for one in after.unclean if one.node != node))


def shows_any_mark(self: PartitionLeader) -> Offset:
    return self._high_watermark


def counts_what_was_told_before_the_match(
    self: KnownFollower, progress: Progress, *, log_end: Offset, now: Any
) -> bool:
    self.matched, self.sent_end = True, max(self.sent_end, progress.log_end)
    return _reported(self, progress, log_end=log_end, now=now)


def begins_unsynced(self: Leadership, log: LogStands) -> list[Any]:
    if self.role is not Role.ELECTED:
        return []
    self.role = Role.LEADER
    return [BeginEpoch(self._assignment, log.log_end)]


_take: Final = PartitionFollower._take
_frame: Final = PartitionFollower._frame
_open: Final = PartitionFollower._open
_reported: Final = KnownFollower.reported
_clean_heir: Final = election.clean_heir
_restarted_unclean: Final = election.restarted_unclean
LEADER: Final = "cluster.replication.leader"

FAULTS: Final[dict[str, tuple[object, str, Any]]] = {
    "high watermark from the committed ISR only": (
        LEADER, "high_watermark", HIGH_WATERMARK["ignores the pending ISR"]
    ),
    "high watermark without the flush term": (
        LEADER, "high_watermark", HIGH_WATERMARK["counts what is written as flushed"]
    ),
    "k counted over the maximal view": (
        LEADER, "high_watermark", HIGH_WATERMARK["counts flushes of either view"]
    ),
    "follower accepts a gap": (PartitionFollower, "_take", takes_a_gap),
    "follower accepts an older epoch": (PartitionFollower, "_frame", hears_an_older_epoch),
    "logs are believed to match": (LEADER, "parting", believes_that_logs_match),
    "cuts by offset alone": ("cluster.replication.follower", "cut_at", cuts_by_offset_alone),
    "truncates to the high watermark": (PartitionFollower, "_open", cuts_to_its_mark),
    "position reported before it is written": (
        PartitionFollower, "_report", reports_what_it_has_not_written
    ),
    "joins below the epoch start": (PartitionLeader, "_may_join", joins_below_the_epoch),
    "registration ignored at join": (Draft, "may_join", may_join_under_any_registration),
    "registration ignored in reports": (KnownFollower, "reported", hears_any_registration),
    "unclean member elected while a clean one lives": (
        election, "clean_heir", elects_an_unclean_member
    ),
    "recovery does not wait for all": (election, "recovered_heir", elects_before_all_are_known),
    "an unclean restart is forgotten": (
        election, "restarted_unclean", forgets_that_it_restarted
    ),
    "leader shows less than its epoch's start": (
        PartitionLeader, "high_watermark", property(shows_any_mark)
    ),
    "tells the time of its own clock": (PartitionLeader, "closed_time", tells_its_own_time),
    "answers of who has left count": (KnownFollower, "lost", goes_without_a_word),
    "ends count before the logs match": (
        KnownFollower, "reported", counts_what_was_told_before_the_match
    ),
}  # fmt: skip


def plant(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a fault in."""
    where, name, planted = FAULTS[fault]
    if isinstance(where, str):
        monkeypatch.setattr(f"{where}.{name}", planted)
    else:
        monkeypatch.setattr(where, name, planted)
