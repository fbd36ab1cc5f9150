"""How long members wait, in ticks, and how much they send at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftLimits:
    """Bounds of one member; every member of a quorum has the same."""

    election_ticks: int = 8
    """A follower believes in its leader for so long, and a leader in its quorum."""
    election_jitter_ticks: int = 5
    """Members begin an election up to so many ticks later, one less: by chance, not together."""
    heartbeat_ticks: int = 1
    """Never as many as `election_ticks`."""
    append_bytes_max: int = 192 << 10
    """Payload of one append; an entry that is longer goes alone. With its head it is a frame that
    nothing overtakes on a link (`cluster.peer.part.PART_BYTES`)."""
    window_appends_max: int = 64
    """Appends under way to one follower."""
    window_bytes_max: int = 8 << 20
    """Their payload: what a slow follower holds of a leader's memory."""
    snapshot_chunk_bytes: int = 192 << 10
    """The same, and small enough that heartbeats come through between two."""
    snapshot_bytes_max: int = 1 << 30
    """A follower takes no longer one; it is put together in memory."""
    kept_entries: int = 1_000
    """Entries in memory below the newest snapshot, for followers that are a little behind."""
    delivered_entries_max: int = 1_000
    """Committed entries of one `Ready`: what a machine applies without giving the loop back."""
    promotion_lag_max: int = 100
    """A learner so many entries behind becomes a voter: fewer are sent within a heartbeat."""
