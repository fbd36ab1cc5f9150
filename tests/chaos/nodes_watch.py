"""What a run knows of its nodes and clients while it goes on, and waits for."""

from collections.abc import Callable
from contextlib import suppress
from threading import Event
from time import monotonic
from typing import Final, TypeVar

from tests.chaos.history import now_us
from tests.chaos.nodes_acks import Acks, Silence
from tests.chaos.nodes_crowd import Crowd
from tests.chaos.nodes_plan import HEALED_S_MAX, PARTITIONS, REPLICAS, TOPIC
from tidelog.errors import TidelogError
from tidelog.sync import Client
from tidelog.types import TopicInfo

LOOK_S: Final = 0.05
ASK_S: Final = 0.2
T = TypeVar("T")


class NotBack(Exception):  # noqa: N818 - says what happened
    """Something that must come by itself has not come."""


class Watch:
    """Looks at acks, and asks the cluster."""

    def __init__(self, client: Client, crowd: Crowd, acks: Acks) -> None:
        """Take what it looks at."""
        self._client = client
        self._crowd = crowd
        self._acks = acks

    def quorum_leader(self) -> int:
        """Return who leads the controller quorum, once somebody does."""
        return self._until(lambda: self._client.cluster.quorum().leader, "a leader of the quorum")

    def leader(self, partition: int) -> int:
        """Return who leads a partition, once somebody does."""
        return self._until(
            lambda: self.topic().partitions[partition].leader, f"a leader of {TOPIC}/{partition}"
        )

    def topic(self) -> TopicInfo:
        """Return the topic as a node describes it."""
        return self._client.topics.get(TOPIC)

    def writes_back(self, what: str) -> None:
        """Wait until every partition has taken, through each door, a record from now on.

        Raises:
            NotBack: one does not, with its name.
        """
        since, until = now_us(), monotonic() + HEALED_S_MAX
        while True:
            self._crowd.check()
            self._acks.look()
            if self._acks.back_since(since):
                return
            if monotonic() > until:
                missing = [f"{lane.at} by {lane.door}" for lane in self._acks.missing_since(since)]
                raise NotBack(
                    f"no writes {what} for {HEALED_S_MAX:.0f} s in {len(missing)} of "
                    f"{len(self._acks.lanes)} lanes: {', '.join(missing[:6])}"
                )
            Event().wait(LOOK_S)

    def healed(self, what: str) -> str:
        """Wait until every replica is in sync, and the cluster calls itself healthy.

        Returns what was in the way last; nothing: all was well at the first look.

        Raises:
            NotBack: it does not come to that.
        """
        last = ""

        def look() -> bool | None:
            nonlocal last
            cluster, topic = self._client.cluster.get(), self.topic()
            full = [one for one in topic.partitions if len(one.in_sync_replicas) == REPLICAS]
            if len(full) == PARTITIONS and cluster.status == "healthy":
                return True
            lacking = PARTITIONS - len(full)
            told = [f"{lacking} of {PARTITIONS} partitions lack replicas in sync"] * bool(lacking)
            last = "; ".join([*told, *cluster.reasons]) or cluster.status
            return None

        try:
            self._until(look, "")
        except NotBack:
            raise NotBack(f"{HEALED_S_MAX:.0f} s {what}: {last}") from None
        return last

    def silence(self, since_s: float) -> Silence:
        """Return the longest time without acks since a time, monotonic, in s."""
        self._acks.look()
        return self._acks.silence(int(since_s * 1e6), now_us())

    def _until(self, look: Callable[[], T | None], what: str) -> T:
        until = monotonic() + HEALED_S_MAX
        while True:
            self._crowd.check()
            with suppress(TidelogError):  # while nobody leads
                found = look()
                if found is not None:
                    return found
            if monotonic() > until:
                raise NotBack(f"not within {HEALED_S_MAX:.0f} s: {what}")
            Event().wait(ASK_S)
