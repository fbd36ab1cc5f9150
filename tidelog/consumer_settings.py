"""What a consumer is asked to do, checked, and as the wire has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tidelog.arguments import span_of, topics_of
from tidelog.batch import can_build
from tidelog.group_types import CommitMode
from tidelog.places import duration_of, isolation_of, seek_of
from tidelog.types import Clock, Isolation, Start
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import group_service_pb2 as wire

BATCH_RECORDS: Final = 500
"""Records of a list, if the program does not say."""
BATCH_WAIT: Final = timedelta(seconds=1)
"""How long a list waits to be full, likewise."""
MODES: Final = ("after", "auto", "manual")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """One consumer's options; times and places are checked when the request is made."""

    group: str
    topics: Sequence[str]
    start: Start
    clock: Clock
    commit: CommitMode
    isolation: Isolation
    instance_id: str | None
    session_timeout: timedelta | None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: no topic, no group, a word that there is not, a timeout that is none.
            TypeError: a topic that is no name, a timeout that is no timedelta.
        """
        if not self.topics:
            raise ValueError("name a topic to consume")
        topics_of(self.topics)
        if not self.group:
            raise ValueError("name the group: group=...")
        if self.commit not in MODES:
            raise ValueError(f"commit is {self.commit!r}; there are {', '.join(MODES)}")
        silence = self.session_timeout
        if silence is not None and span_of("session_timeout", silence) <= timedelta(0):
            raise ValueError(f"session_timeout is {silence}; it must be positive")

    def join(self) -> wire.ConsumeRequest.Join:
        """Return the first message of a new member, without its credit."""
        join = wire.ConsumeRequest.Join(
            group=self.group,
            topics=self.topics,
            instance_id=self.instance_id or "",
            start=seek_of(self.start, self.clock),
            isolation_level=isolation_of(self.isolation),
            encoding=common.ENCODING_BATCH if can_build() else common.ENCODING_RECORDS,
        )
        if self.session_timeout is not None:
            join.session_timeout.CopyFrom(duration_of(self.session_timeout))
        return join
