"""A client of Tidelog, from its proto files alone. README.md beside this file says how to run it.

    main.py ADDRESS produce TOPIC                        append the lines of standard input
    main.py ADDRESS read TOPIC CLOCK START_MS END_MS     read a time range
    main.py ADDRESS consume GROUP TOPIC                  be a member of a group until SIGTERM
    main.py ADDRESS seek GROUP TOPIC CLOCK TIME_MS       send the group to a moment
    main.py ADDRESS fail TOPIC                           see a partial failure and a whole one

CLOCK is `event` or `append`.
"""

import asyncio
import sys

import grpc
from consume import Member
from fail import fail
from produce import produce
from read import read
from refusal import say_error
from seek import seek

OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 8 << 20),
]
"""Come back soon: a member's place is kept for seconds only. Messages hold 3 MiB of records."""


async def main(arguments: list[str]) -> None:
    """Do one thing."""
    address, *words = arguments
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        match words:
            case ["produce", topic]:
                await produce(channel, topic)
            case ["read", topic, ("event" | "append") as clock, start, end]:
                await read(channel, topic, clock, start_ms=int(start), end_ms=int(end))
            case ["consume", group, topic]:
                await Member(channel, group, topic).live()
            case ["seek", group, topic, ("event" | "append") as clock, time]:
                await seek(channel, group, topic, clock=clock, time_ms=int(time))
            case ["fail", topic]:
                await fail(channel, topic)
            case _:
                sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1:]))
    except grpc.aio.AioRpcError as error:
        say_error(error)
        sys.exit(1)
