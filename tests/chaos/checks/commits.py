"""Committed offsets: never back, never older than acknowledged, never from who held before.

The workloads commit forward only: a member commits what it was given, in order, and begins where
its predecessors ended. A seek of the group is written down (Reset), and everything begins anew.
"""

from typing import NamedTuple

from tests.chaos.checks.holds import Holds
from tests.chaos.checks.known import Known
from tests.chaos.checks.shares import Hold, Share, Shares
from tests.chaos.history import Commit, Committed, HistoryError, Look, Looked


class Pending(NamedTuple):
    """What is under way for one partition, and what was known when it began."""

    share: Share
    offset: int | None
    """To be committed; None for a look."""
    acked: int | None
    acked_by: str
    resets: int
    hold: Hold | None = None
    """Of the member that commits."""
    before: Hold | None = None
    """The last other hold that had had a commit acknowledged."""
    later: str = ""
    """Who had had the partition since."""


class Commits:
    """Judges commits and what is told of them."""

    def __init__(self, known: Known, shares: Shares, holds: Holds) -> None:
        """Take what is known."""
        self._report = known.report
        self._shares = shares
        self._holds = holds
        self._commits: dict[tuple[str, int], dict[str, Pending]] = {}
        self._looks: dict[tuple[str, int], dict[str, Pending]] = {}
        self.handlers = {
            Commit: self._commit,
            Committed: self._committed,
            Look: self._look,
            Looked: self._looked,
        }

    def _pending(self, client: str, share: Share, offset: int) -> Pending:
        hold = self._holds.hold(client, share.at)
        row = Pending(share, offset, share.acked, share.acked_by, share.resets)
        if hold is None or hold.share is not share:
            return row
        later = hold.superseded_by
        is_newer = hold.epoch is not None and hold.epoch < share.epoch
        if is_newer and share.epoch_of != client:
            later = share.epoch_of
        before = None if share.valid is hold else share.valid
        return row._replace(hold=hold, before=before, later=later)

    def _commit(self, client: str, event: Commit) -> None:
        rows = self._commits[client, event.id] = {}
        for at, offset in event.places.items():
            share = self._shares.share(event.group, at)
            rows[at] = self._pending(client, share, offset)
            hold = rows[at].hold
            position = None if hold is None else hold.position
            if position is not None and position < offset and not share.resetting:
                text = f"{client} commits {offset}, and was given all up to {position} only"
                self._report.tell("group-gap", str(share), text, client)
            share.most = max(share.most, offset)

    def _committed(self, client: str, event: Committed) -> None:
        rows = self._commits.pop((client, event.id), None)
        if rows is None:
            raise HistoryError(
                f"{client} had an answer to commit {event.id}, which it did not send"
            )
        for at, row in rows.items():
            if at in event.refused:
                self._report.counts["commits refused"] += 1
                continue
            self._report.counts["commits acknowledged"] += 1
            self._taken(client, row)

    def _taken(self, client: str, row: Pending) -> None:
        """Judge a commit that was acknowledged."""
        share, offset, hold = row.share, row.offset or 0, row.hold
        if row.later:
            text = f"{client} committed {offset} though {row.later} had had it since"
            self._report.tell("stale-owner", str(share), text, client, row.later)
        if row.before is not None and not row.later:
            row.before.superseded_by = client
        if share.resets != row.resets or share.resetting:
            return
        if row.acked is not None and offset < row.acked:
            text = f"{client} committed {offset}; {row.acked_by} knew {row.acked} committed"
            self._report.tell("commit-back", str(share), text, client, row.acked_by)
        if hold is not None and share.valid is not hold:
            self._holds.confirm(hold)
            share.valid = hold
        share.raise_acked(offset, client)

    def _look(self, client: str, event: Look) -> None:
        shares = [self._shares.share(event.group, at) for at in event.places]
        self._looks[client, event.id] = {
            share.at: Pending(share, None, share.acked, share.acked_by, share.resets)
            for share in shares
        }

    def _looked(self, client: str, event: Looked) -> None:
        rows = self._looks.pop((client, event.id), None)
        if rows is None:
            raise HistoryError(f"{client} had an answer to look {event.id}, which it did not send")
        for at, row in rows.items():
            share, offset = row.share, event.places.get(at)
            self._report.counts["offsets of groups told"] += 1
            if share.resets != row.resets or share.resetting:
                continue
            if row.acked is not None and (offset is None or offset < row.acked):
                told = "nothing" if offset is None else offset
                text = f"{client} was told {told}; {row.acked_by} knew {row.acked} committed"
                self._report.tell("stale-commit", str(share), text, client, row.acked_by)
            if offset is None:
                continue
            if offset > share.most and not share.resets:
                text = f"{client} was told {offset}; nobody committed more than {share.most}"
                self._report.tell("invented-commit", str(share), text, client)
            share.most = max(share.most, offset)
            share.raise_acked(offset, client)
