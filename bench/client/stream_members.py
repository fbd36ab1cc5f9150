"""Members of a group, each a Consume stream over a connection of its own; it runs until killed.

    python -m bench.client.stream_members TARGET GROUP TOPIC MEMBERS

The first line says when the first connection was asked for, each other what happened to a member:
"SECONDS MEMBER assigned|revoked|read PARTITION...", on the monotonic clock of the machine. `read`:
the first records since the partitions were assigned. What is asked back is given back at once.
"""

import asyncio
import sys
import time
from collections.abc import Iterable
from typing import Any, Final

from grpc import aio

from tidelog.v1 import common_pb2, group_service_pb2, group_service_pb2_grpc

Request: Any = group_service_pb2.ConsumeRequest
HEARTBEAT_S: Final = 2.0
"""Less than a third of the session timeout."""
CREDIT: Final = common_pb2.Credit(records=1_000_000, bytes=64 << 20)
OWN_CONNECTION: Final = (("grpc.use_local_subchannel_pool", 1),)


def tell(member: int, what: str, partitions: Iterable[int]) -> None:
    """Print one line."""
    numbers = " ".join(map(str, partitions))
    print(f"{time.monotonic():.6f} {member} {what} {numbers}", flush=True)


class Member:
    """One stream."""

    def __init__(self, number: int, channel: aio.Channel) -> None:
        """Open it; nothing is said yet."""
        groups: Any = group_service_pb2_grpc.ConsumerGroupServiceStub(channel)
        self._number = number
        self._call = groups.Consume()
        self._writing = asyncio.Lock()  # a call takes one message at a time
        self._unread: set[int] = set()

    async def run(self, group: str, topic: str) -> None:
        """Join, and do as the node says for ever.

        Raises:
            RuntimeError: the stream ended.
        """
        await self._say(join=Request.Join(group=group, topics=[topic], credit=CREDIT))
        while (message := await self._call.read()) is not aio.EOF:
            match message.WhichOneof("event"):
                case "assigned":
                    numbers = [cursor.partition for cursor in message.assigned.cursors]
                    self._unread.update(numbers)
                    tell(self._number, "assigned", numbers)
                case "revoke":
                    partitions = message.revoke.partitions
                    tell(self._number, "revoked", (one.partition for one in partitions))
                    await self._say(revoked=Request.Revoked(partitions=partitions))
                case "records":
                    self._read({step.next.partition for step in message.records.partitions})
                case _:
                    pass
        raise RuntimeError(f"member {self._number}: {await self._call.details()}")

    async def live(self) -> None:
        """Say so again and again."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._say(heartbeat=Request.Heartbeat())

    def _read(self, partitions: set[int]) -> None:
        first = self._unread & partitions
        self._unread -= first
        if first:
            tell(self._number, "read", first)

    async def _say(self, **action: Any) -> None:
        async with self._writing:
            await self._call.write(Request(**action))


async def main(target: str, group: str, topic: str, *, members: int) -> None:
    """Run all members."""
    tell(-1, "began", ())
    channels = [aio.insecure_channel(target, options=OWN_CONNECTION) for _ in range(members)]
    async with asyncio.TaskGroup() as tasks:
        for number, channel in enumerate(channels):
            member = Member(number, channel)
            tasks.create_task(member.run(group, topic))
            tasks.create_task(member.live())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], members=int(sys.argv[4])))
