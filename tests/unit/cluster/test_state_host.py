"""A host with a table of offsets: the order of decisions, commits and answers, told as a script."""

from pathlib import Path

from cluster.state_partition.host import Reply, StateHost
from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupRecord, OffsetCommitted
from consumer_groups.settings import GroupSettings
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, Offset
from model.result import Result
from tests.datadriven import Command, run_script
from tests.group_state import ORDERS, commit_of

SETTINGS = GroupSettings(offset_metadata_bytes_max=4)


class Log:
    """The internal partition: what it holds, and what a new leader finds."""

    def __init__(self) -> None:
        self.records: list[GroupRecord] = []
        self.is_full = False

    def append(self, records: tuple[GroupRecord, ...]) -> Offset:
        if self.is_full:
            raise RequestError(ErrorCode.DISK_FULL, "no room")
        self.records += records
        return Offset(len(self.records))


class Bench:
    """Runs script commands against one host."""

    def __init__(self) -> None:
        self.log = Log()
        self.host = StateHost[GroupMachine, GroupRecord, int](self.log)
        self.token = 0

    def execute(self, command: Command) -> str:
        """Run one command and print the replies that it sets free."""
        try:
            replies = self.run(command)
        except AssertionError as invariant:
            return f"refused: {invariant}"
        if command.name == "freeze":
            frozen = self.host.freeze()
            return "no state" if frozen is None else f"{frozen.offset}: {offsets(frozen.records)}"
        said = [f"{reply.token}: {answer(reply)}" for reply in replies]
        return "\n".join(said) or "silence"

    def run(self, command: Command) -> list[Reply[int]]:
        match command.name:
            case "lead":
                del self.log.records[int(command.arguments.get("log_end", "0")) :]
                machine = GroupMachine(SETTINGS)
                for record in self.log.records:
                    machine.replay(record)
                self.host.lead(machine, end=Offset(len(self.log.records)))
            case "commit":
                return self.commit(command.integer("offset"), command.text("metadata", ""))
            case "fetch":
                self.token += 1
                return self.host.handle(self.token, lambda machine: Result((), offset_of(machine)))
            case "advance":
                return self.host.advance(Offset(command.integer("high_watermark")))
            case "resign":
                return self.host.resign()
            case "full" | "room":
                self.log.is_full = command.name == "full"
            case "intrude":
                self.log.append((self.log.records[-1],))
            case "freeze":
                pass
            case unknown:
                raise ValueError(unknown)
        return []

    def commit(self, offset: int, metadata: str) -> list[Reply[int]]:
        """Commit an offset; a row that is refused is the answer."""
        self.token += 1

        def decide(machine: GroupMachine) -> Result[GroupRecord, str]:
            result = commit_of(
                machine, AppendTimeMs(0), group="g", offset=offset, metadata=metadata
            )
            (row,) = result.response
            if row.error is not None:
                raise row.error
            return Result(result.records, "done")

        return self.host.handle(self.token, decide)


def offset_of(machine: GroupMachine) -> int | None:
    found = machine.committed(GroupId("g"), ORDERS)
    return None if found is None else found.offset


def offsets(records: tuple[GroupRecord, ...]) -> list[int]:
    return [record.offset for record in records if isinstance(record, OffsetCommitted)]


def answer(reply: Reply[int]) -> str:
    match reply.answer:
        case RequestError(code=code):
            return f"{code.name}, {code.outcome.value}"
        case response:
            return str(response)


def test_script(scripts: Path, rewrite: bool) -> None:
    run_script(scripts / "state_partition/host.txt", Bench().execute, rewrite=rewrite)
