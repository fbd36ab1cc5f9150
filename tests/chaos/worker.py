"""A process of some members: `python -m tests.chaos.worker TARGET JOURNAL`, told over its stdin.

Each line is a JSON list: what to do, a membership's client id, and for `join` its session timeout.
It ends when its stdin does; or by SIGKILL, at any moment.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.chaos.journal import Journal, Lag, Wrong, now_ms
from tests.chaos.member import Member

TICK_S: Final = 0.05
LAG_MS: Final = 100.0
"""A pause of the whole process that is worth a line."""
LINE_BYTES_MAX: Final = 1 << 16


class Worker:
    """All members of this process."""

    def __init__(self, target: str, journal: Journal) -> None:
        """Begin without any."""
        self._target = target
        self._journal = journal
        self._members: dict[str, Member] = {}

    async def run(self, lines: asyncio.StreamReader) -> None:
        """Do what is told until nothing more is."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch())
            while line := await lines.readline():
                words = msgspec.json.decode(line)
                tasks.create_task(self.do(words))
            watching.cancel()
        for member in self._members.values():
            await member.close()

    async def do(self, words: list[Any]) -> None:
        """Do to one membership what a line says, once what lines before said of it is done."""
        what, who, *rest = words
        try:
            if what == "join":
                self._members[who] = Member(self._target, who, rest[0], self._journal.note)
                self._members[who].join()
            elif (member := self._members.get(who)) is None:
                self._journal.note(Wrong(now_ms(), who, f"told to {what}, and is none"))
            else:
                async with member.turn:  # who resumes at once has let its old stream go first
                    await self._strike(member, what)
        except Exception as bug:  # noqa: BLE001 - the run must hear of it, whatever it is
            self._journal.note(Wrong(now_ms(), who, f"{what}: {bug!r}"))

    async def _strike(self, member: Member, what: str) -> None:
        match what:
            case "leave":
                await member.leave()
            case "cut":
                await member.cut()
            case "pause":
                await member.pause()
            case "break":
                await member.break_off()
            case "resume":
                member.resume()
            case "late":
                await member.speak_late()
            case _:
                self._journal.note(Wrong(now_ms(), member.who, f"told to {what}"))

    async def _watch(self) -> None:
        """Write down when this process got no time to run: its members were slow, not the node."""
        before = now_ms()
        while True:
            await asyncio.sleep(TICK_S)
            now = now_ms()
            if now - before - TICK_S * 1_000 > LAG_MS:
                for who, member in self._members.items():
                    if not member.over:
                        self._journal.note(Lag(now, who, now - before))
            before = now


async def main(target: str, path: Path) -> None:
    """Serve stdin."""
    lines = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    journal = Journal(path)
    await Worker(target, journal).run(lines)
    journal.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
