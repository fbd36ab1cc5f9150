"""A process of members of a group, by the SDK, and of one who asks what is committed.

See `nodes_client.py`. A member that cannot go on is followed by another one.
"""

import asyncio
import sys
from collections.abc import Sequence
from threading import Event
from typing import Final

from tests.chaos.history import Closed, History
from tests.chaos.nodes_client import Orders, histories, orders, tell, until_told
from tests.chaos.nodes_plan import GROUP, MEMBERS, PARTITIONS, TOPIC
from tests.chaos.recorder_sdk import RecordedMember, RecordedQuestions, recorded
from tidelog.client import Client, connect
from tidelog.consumer import Consumer
from tidelog.errors import TidelogError
from tidelog.types import Record, TopicPartition

COMMIT_S: Final = 0.5
ASK_S: Final = 1.0
POLL_S: Final = 0.2
"""A member looks so often whether it is to end, also while nothing comes."""


class Reader:
    """One membership."""

    def __init__(self, client: Client, history: History, over: Event) -> None:
        """Join when it is run."""
        self._history = history
        self._over = over
        self._member = RecordedMember(history, GROUP)
        self._newest: dict[int, Record[bytes, bytes]] = {}
        """Of each partition, not committed yet."""
        self.consumer = client.consumer(
            TOPIC,
            group=GROUP,
            commit="manual",
            on_assigned=self._member.on_assigned,
            on_revoked=self._on_revoked,
        )

    async def run(self) -> None:
        """Read, and commit now and then.

        Raises:
            TidelogError: the membership has ended.
        """
        async with self.consumer:
            records = recorded(self.consumer, self._history)
            loop = asyncio.get_running_loop()
            due = loop.time() + COMMIT_S
            coming = asyncio.ensure_future(anext(records))
            try:
                while not self._over.is_set():
                    await asyncio.wait([coming], timeout=POLL_S)
                    if coming.done():
                        record = coming.result()
                        self._newest[record.partition] = record
                        coming = asyncio.ensure_future(anext(records))
                    if loop.time() >= due:
                        await self._commit()
                        due = loop.time() + COMMIT_S
            finally:
                coming.cancel()
                await asyncio.wait([coming])
        self._history.note(Closed(self._history.clock()))

    async def _commit(self) -> None:
        newest, self._newest = list(self._newest.values()), {}
        if not newest:
            return
        try:
            await self._member.commit(self.consumer, *newest)
        except TidelogError as error:
            tell(f"{self._history.client}: a commit: {type(error).__name__}: {error}")

    async def _on_revoked(
        self, consumer: Consumer[bytes, bytes], partitions: Sequence[TopicPartition]
    ) -> None:
        for one in partitions:
            self._newest.pop(one.partition, None)
        await self._member.on_revoked(consumer, partitions)


async def keep_reading(told: Orders, name: str, over: Event) -> None:
    """Be a member, whatever happens."""
    for history in histories(told.folder, name):
        try:
            async with connect(told.address, client_id=history.client) as client:
                await Reader(client, history, over).run()
                return
        except TidelogError as error:
            tell(f"{history.client} begins anew: {type(error).__name__}: {error}")
            history.note(Closed(history.clock()))


async def keep_asking(told: Orders, name: str, over: Event) -> None:
    """Ask what the group has committed; who has no answer is followed by another."""
    for history in histories(told.folder, name):
        try:
            async with connect(told.address, client_id=history.client) as client:
                questions = RecordedQuestions(client, history)
                while not over.is_set():
                    await questions.offsets(GROUP, TOPIC, PARTITIONS)
                    await asyncio.sleep(ASK_S)
                history.note(Closed(history.clock()))
                return
        except TidelogError as error:
            if error.reason != "UNKNOWN_GROUP":  # nobody has joined yet
                tell(f"{history.client} begins anew: {type(error).__name__}: {error}")
            history.note(Closed(history.clock()))
            await asyncio.sleep(ASK_S)


async def main(told: Orders) -> None:
    """Run all of them."""
    over = until_told()
    async with asyncio.TaskGroup() as tasks:
        for number in range(1, MEMBERS + 1):
            tasks.create_task(keep_reading(told, f"m-sdk-{number}", over))
        tasks.create_task(keep_asking(told, "asks-sdk", over))


if __name__ == "__main__":
    asyncio.run(main(orders(sys.argv[1:])))
