"""How many partitions a topic has, remembered for a minute: a producer places keys by it."""

import asyncio
from typing import Final

from tidelog.calls import GET_TOPIC
from tidelog.connection import Connection
from tidelog.v1 import topic_service_pb2 as topics

FRESH_S: Final = 60.0
"""A topic that grew is noticed after so long at the latest."""


class TopicSizes:
    """Partition counts by topic; shared by the producers of a client."""

    def __init__(self, connection: Connection) -> None:
        """Begin knowing none."""
        self._connection = connection
        self._known: dict[str, tuple[int, float]] = {}
        self._asked: dict[str, asyncio.Task[int]] = {}

    def known(self, topic: str) -> int | None:
        """Return the partitions of a topic if they are known and fresh."""
        count, asked_s = self._known.get(topic, (0, 0.0))
        fresh = count and self._connection.clock.monotonic() - asked_s < FRESH_S
        return count if fresh else None

    async def fetch(self, topic: str) -> int:
        """Ask for the partitions of a topic; who asks at the same time shares the call.

        Raises:
            NotFound: it does not exist.
        """
        asked = self._asked.get(topic)
        if asked is None:
            asked = asyncio.get_running_loop().create_task(self._ask(topic))
            self._asked[topic] = asked
            asked.add_done_callback(lambda task: self._answered(topic, task))
        return await asyncio.shield(asked)

    def close(self) -> None:
        """Ask nothing more."""
        for asked in self._asked.values():
            asked.cancel()

    def forget(self, topic: str) -> None:
        """Ask anew next time."""
        self._known.pop(topic, None)

    def _answered(self, topic: str, task: "asyncio.Task[int]") -> None:
        """Let the next one ask anew; a failure that nobody waits for any more is no news."""
        self._asked.pop(topic, None)
        if not task.cancelled():
            task.exception()

    async def _ask(self, topic: str) -> int:
        response = await self._connection.call(GET_TOPIC, topics.GetTopicRequest(name=topic))
        count = int(response.topic.partition_count)
        self._known[topic] = (count, self._connection.clock.monotonic())
        return count
