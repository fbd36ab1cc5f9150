"""What a leader knows of one follower, in one leader epoch.

Nothing is known until the follower has opened its stream and its log was found to be a beginning of
the leader's: an end that it tells before that, or told another leader, may count records that
nobody else has. After that its ends only rise, until it restarts and registers anew.
"""

from typing import Final

from cluster.peer.replica import Open, Progress
from cluster.replication.high_watermark import Ends
from model.ids import MonotonicMs, Offset, RegistrationEpoch

EMPTY: Final = Ends(Offset(0), Offset(0), Offset(0))
NEVER: Final = MonotonicMs(-(1 << 62))
_UNTOLD: Final = Offset(-1)
_UNREGISTERED: Final = RegistrationEpoch(-1)


class KnownFollower:
    """One follower: how far it is, how far it was sent to, when it was last abreast."""

    __slots__ = (
        "announced",
        "caught_up_at",
        "ends",
        "matched",
        "registration_epoch",
        "sent_end",
        "to_catch_up",
        "told_mark",
        "told_start",
    )

    def __init__(self, *, log_end: Offset, caught_up_at: MonotonicMs) -> None:
        """Know nothing but where our log ended when the epoch began."""
        self.ends = EMPTY
        """As reported; a lower bound of what it holds."""
        self.registration_epoch = _UNREGISTERED
        self.matched = False
        """On the stream that is there now, its log is a beginning of ours."""
        self.sent_end = Offset(0)
        """Next offset to send; means nothing while it is not matched."""
        self.announced = False
        """`Ready` was said, and what it announced is not taken yet."""
        self.told_mark = self.told_start = _UNTOLD
        self.caught_up_at = caught_up_at
        """When it last held all that we had at its report before."""
        self.to_catch_up = log_end
        """Our log's end when it last did; reaching it, it is abreast again (KIP-16)."""

    @property
    def registered(self) -> RegistrationEpoch | None:
        """The registration under which it has opened; None: it has not, in this epoch."""
        epoch = self.registration_epoch
        return None if epoch == _UNREGISTERED else epoch

    def opened(self, opened: Open) -> bool:
        """Note who opens; False if it is a former registration, whose frame comes late.

        The first one takes no time from it: it is in sync until it should have caught up.
        """
        if opened.registration_epoch < self.registration_epoch:
            return False
        if opened.registration_epoch > self.registration_epoch:
            if self.registered is not None:  # it has restarted
                self.caught_up_at = NEVER
            self.registration_epoch = opened.registration_epoch
            self.ends = EMPTY
        self.lost()
        return True

    def match(self, log_end: Offset) -> None:
        """Send from here on: its log is a beginning of ours."""
        self.matched = True
        self.sent_end = log_end

    def lost(self) -> None:
        """Send nothing: there is no stream, or its log is not known to be like ours."""
        self.matched = self.announced = False
        self.told_mark = self.told_start = _UNTOLD

    def reported(self, progress: Progress, *, log_end: Offset, now: MonotonicMs) -> bool:
        """Take over its ends; False if they are of another registration, or cannot be.

        One that reaches where our log ended last time keeps up. After a restart it is behind until
        it has caught up anew, however short the while: it may have lost what it had not flushed
        (KIP-966).
        """
        if not self.matched or progress.registration_epoch != self.registration_epoch:
            return False
        ends = Ends(progress.log_end, progress.written_end, progress.flushed_end)
        held = self.ends
        if ends.log > log_end or ends.written < held.written or ends.flushed < held.flushed:
            return False
        self.ends = ends
        self.sent_end = max(self.sent_end, ends.log)  # it opened twice: the rest came before
        if ends.log >= self.to_catch_up:
            self.caught_up_at = now
            self.to_catch_up = log_end
        return True

    def abreast_until(self, now: MonotonicMs, log_end: Offset) -> None:
        """Note that it held all that we had, if it did, up to this moment, in which that ends.

        Nobody judges it while all are at rest: without this it would be behind by that long.
        """
        if self.matched and self.ends.log == log_end:
            self.caught_up_at = max(self.caught_up_at, now)

    def is_even(self, log_end: Offset, high_watermark: Offset, log_start: Offset) -> bool:
        """Tell whether it holds all, and was told all there is to tell."""
        return (
            self.matched
            and not self.announced
            and self.ends.log == log_end
            and not self.has_news(log_end, high_watermark, log_start)
        )

    def has_news(self, log_end: Offset, high_watermark: Offset, log_start: Offset) -> bool:
        """Tell whether there is something that it has not been sent."""
        return self.is_behind(log_end, log_start) or (
            self.matched and self.told_mark != high_watermark
        )

    def is_behind(self, log_end: Offset, log_start: Offset) -> bool:
        """Tell whether it is to be sent something now: a mark alone goes with what comes next.

        Of a log that has just been found to be a beginning of ours it has not been told anything.
        """
        return self.matched and (self.sent_end < log_end or self.told_start != log_start)
