"""Producing: an answer is cut off, and the very same request comes again."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from tests.clients.program import Event, ProgramFailed
from tests.clients.relay import Message, Relay
from tests.clients.scene import PARTITIONS, Scene
from tests.clients.stored import Line, Log
from tidelog.v1 import log_service_pb2

TIMES: Final = 1_009
"""A prime: stepping through it by another number meets every residue, in no order."""
FIRST_MS: Final = 1_767_225_600_000
"""2026-01-01, the event time of the first moment."""
MALFORMED: Final = ("0 1 key value", "0\t1\tkey", "x\t1\tkey\tvalue", "0\tx\tkey\tvalue")
NO_LINE: Final = "not PARTITION TIME_MS KEY VALUE"
MISUSED: Final = 2
"""The exit code of a program that was given what it cannot use."""
LOST_ANSWER: Final = 6
"""The answer that is cut off: that of some request in the middle, not of the first one."""


def some_lines(first: int, count: int) -> list[Line]:
    """Return records whose event times come in no order, several with the same one."""
    return [
        Line(
            number * 7 % PARTITIONS,
            FIRST_MS + number * 37 % TIMES // 2 * 1_000,
            f"key-{number % 50}",
            f"value-{number} \u00e9\u2713",
        )
        for number in range(first, first + count)
    ]


async def produce(scene: Scene, name: str, lines: Sequence[Line], *, address: str = "") -> Log:
    """Have lines written; return the log afterwards."""
    stdin = "".join("\t".join(map(str, line)) + "\n" for line in lines)
    program = scene.start(name, ["produce", scene.topic], address=address, stdin=stdin)
    await program.end()
    log = await scene.log()
    scene.report.wrong += [
        f"{program.name}: {one}" for one in unlike_told(log, program.named("produced"), lines)
    ]
    return log


async def refuse(scene: Scene) -> None:
    """Give it lines that it cannot send: each is named, in a line of its own, and ends it."""
    with scene.report.step("a malformed line") as wrong:
        for number, line in enumerate(MALFORMED):
            program = scene.start(
                f"malformed-{number}", ["produce", scene.topic], stdin=f"{line}\n"
            )
            try:
                await program.end(codes=(MISUSED,))
            except ProgramFailed as failed:
                wrong.append(str(failed))
                continue
            said = program.errors.replace("\t", "\\t")  # some show a tab as it is
            named = re.escape(line.replace("\t", "\\t"))
            if not re.fullmatch(f"{NO_LINE}: (['\"]){named}\\1\n", said):
                wrong.append(f"says {said!r} of {line!r}")


def unlike_told(log: Log, produced: Sequence[Event], lines: Sequence[Line]) -> list[str]:
    """Say where a program tells other places than those at which its lines are."""
    left: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        left[line.partition].append(line)
    wrong: list[str] = []
    for event in produced:
        partition, base, count = event["partition"], event["base_offset"], event["records"]
        run, left[partition] = left[partition][:count], left[partition][count:]
        stored = log[partition][base : base + count]
        if [record.line for record in stored] != run:
            wrong.append(f"other records are at {partition}/{base} than it says")
        if {record.append_time_ms for record in stored} != {event["append_time_ms"]}:
            wrong.append(f"another append time is at {partition}/{base} than it says")
    untold = sum(map(len, left.values()))
    return [*wrong, f"{untold} records without a word"] if untold else wrong


async def produce_cut(scene: Scene, lines: Sequence[Line]) -> tuple[Log, list[str]]:
    """Have lines written while one answer is lost; return the log, and what is wrong."""
    requests: list[bytes] = []
    answers = 0
    lost: list[bytes] = []

    def hear(message: Message) -> bool:
        nonlocal answers
        if message.to_node:
            requests.append(message.payload)
            return False
        answers += 1
        if answers == LOST_ANSWER:
            lost.append(message.payload)
        return answers == LOST_ANSWER

    relay = Relay(scene.node, hear)
    async with relay.open() as address:
        log = await produce(scene, "produce", lines, address=address)
    return log, _unlike_repeated(requests, lost, relay)


def _unlike_repeated(requests: Sequence[bytes], lost: Sequence[bytes], relay: Relay) -> list[str]:
    if not lost or relay.cuts != 1:
        return ["no answer was cut off"]
    wrong: list[str] = []
    twice = LOST_ANSWER - 1
    if len(requests) <= LOST_ANSWER or requests[twice] != requests[twice + 1]:
        wrong.append("what came after the lost answer is not the very same request")
    answer = log_service_pb2.ProduceResponse.FromString(lost[0])
    if not answer.results or any(row.HasField("error") for row in answer.results):
        wrong.append("the answer that was lost said nothing of records that were appended")
    return wrong


def unlike_duplicates(produced: Sequence[Event]) -> list[str]:
    """Say whether the rows of just one request were told to be in the log already."""
    repeated = [event for event in produced if event["duplicate"]]
    partitions = {event["partition"] for event in repeated}
    if len(repeated) != PARTITIONS or len(partitions) != PARTITIONS:
        return [f"{len(repeated)} rows were duplicates, not the {PARTITIONS} of one request"]
    if any(event["attempts"] < 2 for event in repeated):
        return ["a duplicate at the first attempt"]
    return []
