"""Reading time ranges, and failing: what a program prints is what the log and the node say."""

import re
from typing import Any, Final

from tests.clients.scene import PARTITIONS, Scene
from tests.clients.stored import Log, in_range, told

FAILED_ROW: Final = {
    "reason": "UNKNOWN_PARTITION",
    "outcome": "NOT_DONE",
    "retryable": False,
}
FAILED_CALL: Final = {
    "status": "NOT_FOUND",
    "reason": "UNKNOWN_TOPIC",
    "outcome": "NOT_DONE",
    "retryable": False,
}
NO_SUCH_PARTITION: Final = 99


async def read_range(scene: Scene, log: Log, clock: str, *, start_ms: int, end_ms: int) -> None:
    """Have a range read, and compare every record of it."""
    with scene.report.step(f"read a range of {clock} time") as wrong:
        words = ["read", scene.topic, clock, str(start_ms), str(end_ms)]
        program = scene.start(f"read-{clock}", words)
        await program.end()
        found = sorted(told(event) for event in program.named("record"))
        wanted = sorted(in_range(log, clock, start_ms=start_ms, end_ms=end_ms))
        everything = sum(map(len, log.values()))
        assert 0 < len(wanted) < everything, "the range asked for has some records, not all"
        if found != wanted:
            lost, extra = set(wanted) - set(found), set(found) - set(wanted)
            wrong.append(f"{len(lost)} lost, {len(extra)} foreign, {len(found)} in all")
        order = [(event["partition"], event["offset"]) for event in program.named("record")]
        if any(_of(order, partition) != sorted(_of(order, partition)) for partition in log):
            wrong.append("a partition's records are not in the order of their offsets")
        ends = [event["records"] for event in program.named("end")]
        if ends != [len(wanted)]:
            wrong.append(f"says {ends} records in the end, not {len(wanted)}")
        scene.report.facts.append(f"{len(wanted)} of {everything} in a range of {clock} time")


def _of(order: list[tuple[int, int]], partition: int) -> list[int]:
    return [offset for number, offset in order if number == partition]


async def fail(scene: Scene) -> None:
    """Have it meet a row that is refused among good ones, and a call that fails."""
    topic = f"{scene.topic}-failures"
    await scene.create(topic)
    program = scene.start("fail", ["fail", topic])
    await program.end()
    log = await scene.log(topic)
    with scene.report.step("a partial failure") as wrong:
        good = [(event["partition"], event["base_offset"]) for event in program.named("row")]
        if good != [(0, 0), (1, 0)]:
            wrong.append(f"the rows {good} went well, not those of partitions 0 and 1")
        if [len(log[partition]) for partition in range(PARTITIONS)] != [1, 1, 0, 0]:
            wrong.append("the log has other records than those of the good rows")
        rows = [_plain(event) for event in program.named("row_error")]
        if not any(_has(row, FAILED_ROW | {"partition": NO_SUCH_PARTITION}) for row in rows):
            wrong.append(f"told {rows}, not {FAILED_ROW}")
    with scene.report.step("a whole failure") as wrong:
        errors = [_plain(event) for event in program.named("error")]
        if len(errors) != 1 or not _has(errors[0], FAILED_CALL):
            wrong.append(f"told {errors}, not {FAILED_CALL}")
        elif f"{topic}-that-does-not-exist" not in errors[0]["message"]:
            wrong.append(f"the message names no topic: {errors[0]['message']}")


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event in the words of the table of reasons: languages spell NOT_FOUND NotFound."""
    status = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", event.get("status", "")).upper()
    return event | {"outcome": event["outcome"].removeprefix("OUTCOME_"), "status": status}


def _has(event: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return {name: event.get(name) for name in wanted} == wanted


async def read_ranges(scene: Scene, log: Log) -> None:
    """Read part of the log on each clock; the bounds are times that records have."""
    records = [record for partition in log.values() for record in partition]
    times = sorted({record.time_ms for record in records})
    third = len(times) // 3
    await read_range(scene, log, "event", start_ms=times[third], end_ms=times[2 * third])
    appended = sorted(record.append_time_ms for record in records)
    middle = appended[len(appended) // 2]
    await read_range(scene, log, "append", start_ms=middle, end_ms=appended[-1])
