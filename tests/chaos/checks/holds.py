"""Members: one owner in an epoch, and each begins where its predecessors' commits say.

When a member hears that it has a partition says little of when it was given it: it may have stood
still, and have lost it since. So where it began is judged once a commit of this hold is
acknowledged: then it was the owner after all whose commits had been acknowledged before.
"""

from tests.chaos.checks.known import Known
from tests.chaos.checks.shares import Hold, Share, Shares
from tests.chaos.history import Assigned, Drained, Gap, Garbled, Gave, Passed, Read


class Holds:
    """Judges what members are given."""

    def __init__(self, known: Known, shares: Shares) -> None:
        """Take what is known."""
        self._known = known
        self._report = known.report
        self._shares = shares
        self._holds: dict[str, dict[str, Hold]] = {}
        """By client and partition."""
        self._epochs: dict[tuple[str, str], int] = {}
        """By client and group."""
        self.handlers = {
            Assigned: self._assigned,
            Gave: self._gave,
            Read: self._read,
            Passed: self._passed,
            Gap: self._gap,
            Garbled: self._garbled,
            Drained: self._drained,
        }

    def hold(self, client: str, at: str) -> Hold | None:
        """Return what a member has in hand."""
        holds = self._holds.get(client)
        return None if holds is None else holds.get(at)

    def _assigned(self, client: str, event: Assigned) -> None:
        group, epoch = event.group, event.epoch
        if epoch is not None:
            before = self._epochs.get((client, group), -1)
            if epoch < before:
                text = f"{client} was told epoch {before}, and then {epoch}"
                self._report.tell("group-epoch-back", group, text, client)
            self._epochs[client, group] = epoch
        for at, offset in event.places.items():
            share = self._shares.share(group, at)
            if epoch is not None:
                self._one_owner(client, share, epoch)
            hold = self._holds.setdefault(client, {})[at] = Hold(client, share, epoch)
            if offset is not None:
                self._begin(hold, offset)

    def _one_owner(self, client: str, share: Share, epoch: int) -> None:
        if epoch == share.epoch and share.epoch_of != client:
            text = f"{share.epoch_of} and {client} both were given it in epoch {epoch}"
            self._report.tell("two-owners", str(share), text, share.epoch_of, client)
        if epoch > share.epoch:
            share.epoch, share.epoch_of = epoch, client

    def _begin(self, hold: Hold, offset: int) -> None:
        """Note where a member begins, and what was known of the group then."""
        share = hold.share
        hold.position = hold.start = offset
        hold.least, hold.least_of, hold.most = share.acked, share.acked_by, share.most

    def confirm(self, hold: Hold) -> None:
        """Judge where a hold began, now that a commit of it was acknowledged for the first time."""
        share, client = hold.share, hold.client
        if hold.position is None:
            return
        if share.began is None:
            share.began = hold.start
        if hold.least is None:
            return  # by the group's policy: nothing was committed
        if hold.start < hold.least:
            text = f"{client} began at {hold.start}; {hold.least_of} knew {hold.least} committed"
            self._report.tell("stale-start", str(share), text, client, hold.least_of)
        if hold.start > hold.most:
            text = f"{client} began at {hold.start}; nobody had committed more than {hold.most}"
            self._report.tell("group-gap", str(share), text, client)

    def _gave(self, client: str, event: Gave) -> None:
        holds = self._holds.get(client, {})
        for at in event.places:
            holds.pop(at, None)

    def _given(self, client: str, at: str, run: tuple[int, int]) -> None:
        """Note what a member was given: [first, end)."""
        hold = self.hold(client, at)
        if hold is None:
            return
        first, end = run
        if hold.position is None:
            self._begin(hold, first)
        hold.position = end
        hold.share.given.add(first, end)

    def _read(self, client: str, event: Read) -> None:
        if client in self._holds:
            for offset, _, _, count in event.runs:
                self._given(client, event.at, (offset, offset + count))

    def _garbled(self, client: str, event: Garbled) -> None:
        self._given(client, event.at, (event.offset, event.offset + 1))

    def _passed(self, client: str, event: Passed) -> None:
        self._led_on(client, event.at, event.offset)

    def _gap(self, client: str, event: Gap) -> None:
        self._led_on(client, event.at, event.start)

    def _led_on(self, client: str, at: str, offset: int) -> None:
        """Count what nothing lies in as given; whether nothing does, the reader's rules tell."""
        hold = self.hold(client, at)
        if hold is not None and hold.position is None:
            self._begin(hold, offset)
            hold.most = max(hold.most, offset)  # it began before, nobody knows where
        elif hold is not None and hold.position is not None and offset > hold.position:
            hold.share.given.add(hold.position, offset)
            hold.position = offset

    def _drained(self, client: str, event: Drained) -> None:
        if event.group is None:
            return
        share = self._shares.share(event.group, event.at)
        start = self._known.log(event.at).start
        reached = share.given.reach(start if share.began is None else share.began)
        reached = share.given.reach(max(reached, start))  # what lay before is gone
        if reached < event.end and not share.resetting:
            text = f"the log ends at {event.end}; the group was given all up to {reached} only"
            self._report.tell("group-unseen", str(share), text, client)
