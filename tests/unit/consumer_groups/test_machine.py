"""A coordinator's decisions, told as scripts: the records of each and its answer."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from consumer_groups.records import (
    AssignmentChanged,
    GroupChanged,
    GroupDeleted,
    GroupEpoch,
    GroupRecord,
    LeaveReason,
    MemberId,
    MemberJoined,
    MemberLeft,
    MemberResumed,
    OffsetCommitted,
    OffsetsForgotten,
    Owned,
    StreamNumber,
)
from consumer_groups.requests import (
    Actor,
    ByEpoch,
    ByStream,
    Commit,
    Cursor,
    DeleteOffsets,
    FromOutside,
    Join,
    Leave,
    Move,
    Resume,
    Revoked,
    Seek,
)
from consumer_groups.settings import GroupSettings
from consumer_groups.views import Joined, MemberView, PartitionRow, SeekPlan
from model.errors import RequestError
from model.ids import AppendTimeMs, GroupId, LeaderEpoch, Offset, PartitionId, TopicName
from model.result import Result
from tests.datadriven import Command, run_script
from tests.group_bench import GroupBench


class Script(GroupBench):
    """Runs script commands; `group` is g unless a command names one."""

    def execute(self, command: Command) -> str:
        """Run one command: the records that it wrote, then the answer."""
        written = len(self.log)
        self.now = AppendTimeMs(command.integer("now", self.now))
        try:
            answer = self.run(command)
        except RequestError as refused:
            assert len(self.log) == written, "a refusal writes nothing"
            return str(refused)
        return "\n".join([*map(self.told, self.log[written:]), answer])

    def run(self, command: Command) -> str:
        commands: dict[str, Callable[[Command], str]] = {
            "topic": self.topic,
            "grow": self.grow,
            "delete-topic": self.delete_topic,
            "join": self.join,
            "resume": self.resume,
            "revoked": self.revoked,
            "leave": self.leave,
            "overdue": self.overdue,
            "topics-changed": self.topics_changed,
            "forget": self.forget,
            "commit": self.commit,
            "seek": self.seek,
            "delete-offsets": self.delete_offsets,
            "delete-group": self.delete_group,
            "expire": self.expire,
            "list": self.listed,
            "show": self.show,
            "offsets": self.offsets,
            "check": self.check,
        }
        return commands[command.name](command)

    def topic(self, command: Command) -> str:
        topic = self.topics.create(command.text("name"), command.integer("partitions", 1))
        return f"#{topic[0]}"

    def grow(self, command: Command) -> str:
        self.topics.grow(command.text("name"), command.integer("partitions"))
        return "grown"

    def delete_topic(self, command: Command) -> str:
        return f"#{self.topics.delete(command.text('name'))[0]} is gone"

    def join(self, command: Command) -> str:
        request = Join(
            group=group(command),
            new_member_id=member_id(command),
            stream=StreamNumber(command.integer("stream", 1)),
            topics=tuple(map(TopicName, split(command.text("topics", "orders")))),
            instance_id=command.arguments.get("instance"),
            client_id=command.text("client", ""),
            host=command.text("host", ""),
            session_timeout_ms=number(command, "session"),
            rebalance_timeout_ms=number(command, "rebalance"),
            resume_timeout_ms=number(command, "resume"),
            assignor=command.arguments.get("assignor"),
        )
        return self.joined(self.take(self.machine.join(request, now=self.now, topics=self.topics)))

    def resume(self, command: Command) -> str:
        request = Resume(
            group=group(command),
            member_id=member_id(command),
            member_epoch=GroupEpoch(command.integer("epoch")),
            stream=StreamNumber(command.integer("stream")),
            instance_id=command.arguments.get("instance"),
        )
        return self.joined(self.take(self.machine.resume(request)))

    def revoked(self, command: Command) -> str:
        request = Revoked(
            group=group(command),
            member_id=member_id(command),
            stream=StreamNumber(command.integer("stream", 1)),
            holds=self.given(command),
        )
        return self.member(self.take(self.machine.revoked(request)))

    def given(self, command: Command) -> tuple[Owned, ...]:
        """Return holds that are named with their epoch, as `orders/0@3`, or as they are now."""
        views = (view for _, view in self.machine.members() if view.member_id == member_id(command))
        now = {hold.partition: hold[1] for view in views for hold in (*view.owned, *view.revoking)}
        found: list[Owned] = []
        for text in split(command.text("partitions")):
            name, _, since = text.partition("@")
            partition = self.topics.partition(name)
            epoch = GroupEpoch(int(since)) if since else now.get(partition, GroupEpoch(0))
            found.append(Owned(partition, epoch))
        return tuple(found)

    def leave(self, command: Command) -> str:
        request = Leave(
            group=group(command),
            member_id=member_id(command),
            stream=StreamNumber(command.integer("stream", 1)),
            reason=LeaveReason[command.text("reason", "LEFT")],
        )
        return str(self.take(self.machine.leave(request, now=self.now, topics=self.topics)))

    def overdue(self, command: Command) -> str:
        holds = [hold.split("@") for hold in split(command.text("holds"))]
        overdue = tuple(
            Owned(self.topics.partition(name), GroupEpoch(int(since))) for name, since in holds
        )
        return str(
            self.take(self.machine.revoke_overdue(group(command), member_id(command), overdue))
        )

    def topics_changed(self, command: Command) -> str:
        return str(
            self.take(self.machine.topics_changed(group(command), now=self.now, topics=self.topics))
        )

    def forget(self, command: Command) -> str:
        gone = {self.topics.partition(f"{name}/0").topic for name in split(command.text("topics"))}
        forget = partial(self.machine.forget_topics, gone=gone, now=self.now, topics=self.topics)
        touched = [g for g in self.machine.groups_with_topics(gone) if self.take(forget(g))]
        return f"touched: {', '.join(touched) or 'none'}"

    def commit(self, command: Command) -> str:
        request = Commit(
            group=group(command),
            actor=actor(command),
            cursors=tuple(self.cursor(text, command) for text in split(command.text("cursors"))),
        )
        return self.rows(self.take(self.machine.commit(request, now=self.now, topics=self.topics)))

    def cursor(self, text: str, command: Command) -> Cursor:
        name, _, offset = text.partition(":")
        epoch = number(command, "leader_epoch")
        return Cursor(
            partition=self.topics.partition(name),
            offset=Offset(int(offset)),
            leader_epoch=None if epoch is None else LeaderEpoch(epoch),
            metadata=command.text("metadata", ""),
        )

    def seek(self, command: Command) -> str:
        moves = tuple(self.move(text, command) for text in split(command.text("to", "")))
        request = Seek(
            group=group(command),
            principal="anna",
            moves=moves,
            every=self.every(command),
            force=command.text("force", "no") == "yes",
            validate_only=command.text("dry", "no") == "yes",
        )
        return self.plan(self.take(self.machine.seek(request, now=self.now, topics=self.topics)))

    def every(self, command: Command) -> frozenset[PartitionId] | None:
        if "every" not in command.arguments:
            return None
        return frozenset(map(self.topics.partition, split(command.text("every"))))

    def move(self, text: str, command: Command) -> Move:
        name, _, offset = text.partition(":")
        return Move(
            partition=self.topics.partition(name),
            after=Offset(int(offset)),
            log_start=Offset(command.integer("log_start", 0)),
            truncated=command.text("truncated", "no") == "yes",
        )

    def delete_offsets(self, command: Command) -> str:
        request = DeleteOffsets(group=group(command), partitions=self.partitions(command))
        return self.rows(self.take(self.machine.delete_offsets(request, topics=self.topics)))

    def delete_group(self, command: Command) -> str:
        self.take(self.machine.delete_group(group(command)))
        return "done"

    def expire(self, command: Command) -> str:
        asked = number(command, "retention")
        gone = self.take(
            self.machine.expire(
                now=self.now,
                retention_ms=None if asked is None else lambda _: asked,
                at_most=command.integer("at_most", 1_000),
            )
        )
        return f"gone: {', '.join(gone) or 'none'}"

    def listed(self, command: Command) -> str:
        rows = self.machine.list(
            prefix=command.text("prefix", ""),
            after=command.text("after", ""),
            limit=command.integer("limit", 1_000),
        )
        told = [
            f"{row.group}: {row.kind.name}, {row.state.value}, epoch {row.epoch}, {row.assignor}, "
            f"{row.member_count} members"
            for row in rows
        ]
        return "\n".join(told) or "none"

    def show(self, command: Command) -> str:
        view = self.machine.group(group(command))
        head = f"{view.summary.state.value}, epoch {view.summary.epoch}, since "
        return "\n".join([head + str(view.summary.state_since), *map(self.member, view.members)])

    def offsets(self, command: Command) -> str:
        wanted = command.arguments.get("topics")
        topics = wanted and {self.topics.partition(f"{name}/0").topic for name in split(wanted)}
        rows = self.machine.offsets(group(command), topics or None)
        told = [
            f"{self.topics.named(row.partition)}: {self.place(row.committed)}, {row.owner or '-'}"
            for row in rows
        ]
        return "\n".join(told) or "none"

    def check(self, command: Command) -> str:
        stream = StreamNumber(command.integer("stream", 1))
        return self.member(self.machine.check_stream(group(command), member_id(command), stream))

    # Telling.

    def told(self, record: GroupRecord) -> str:
        match record:
            case MemberJoined() | MemberResumed() | MemberLeft() | AssignmentChanged():
                return f"+ {record.member_id} {self.told_of_member(record)}"
            case GroupChanged():
                return (
                    f"+ {record.group} epoch={record.epoch} {record.kind.name} "
                    f"since={record.state_since} {record.assignor}"
                )
            case OffsetCommitted():
                return (
                    f"+ {record.group} {self.topics.named(record.partition)} {self.place(record)}"
                )
            case OffsetsForgotten():
                return f"+ forgotten {' '.join(map(self.topics.named, record.partitions))}"
            case GroupDeleted():
                return f"+ {record.group} deleted"

    def told_of_member(
        self, record: MemberJoined | MemberResumed | MemberLeft | AssignmentChanged
    ) -> str:
        match record:
            case MemberJoined():
                times = (
                    record.session_timeout_ms,
                    record.rebalance_timeout_ms,
                    record.resume_timeout_ms,
                )
                place = "" if record.replaced is None else f" for {record.replaced}"
                return f"joined{place} {record.topics} {times}"
            case MemberResumed():
                return f"resumed, stream {record.stream}"
            case MemberLeft():
                return record.reason.name
            case AssignmentChanged():
                target = " ".join(map(self.topics.named, record.target)) or "-"
                return (
                    f"{self.holds(record.owned)} | revoking {self.holds(record.revoking)} | "
                    f"target {target} | fenced below {record.fenced_below}"
                )

    def place(self, committed: OffsetCommitted | None) -> str:
        if committed is None:
            return "-"
        by = committed.actor or "nobody"
        epoch = "" if committed.leader_epoch is None else f" epoch {committed.leader_epoch}"
        return (
            f"{committed.offset}{epoch} by {by} at {committed.committed_at} {committed.cause.name}"
        )

    def joined(self, answer: Joined) -> str:
        place = "" if answer.replaced is None else f", in place of {answer.replaced}"
        return self.member(answer.member) + place

    def member(self, view: MemberView) -> str:
        pending = " ".join(map(self.topics.named, view.pending)) or "-"
        return (
            f"{view.member_id} epoch {view.epoch} stream {view.stream}: "
            f"owns {self.holds(view.owned)}, revoking {self.holds(view.revoking)}, "
            f"pending {pending}"
        )

    def holds(self, holds: tuple[Owned, ...]) -> str:
        return " ".join(map(self.topics.hold, holds)) or "-"

    def rows(self, rows: tuple[PartitionRow, ...]) -> str:
        return "\n".join(
            f"{self.topics.named(row.partition)}: {row.error or 'done'}" for row in rows
        )

    def plan(self, plan: SeekPlan | None) -> str:
        if plan is None:
            return "the group has offsets in others by now"
        rows = [
            f"{self.topics.named(row.partition)}: {row.before} to {row.after}, "
            f"{row.redelivered} again, {row.skipped} skipped{', truncated' * row.truncated}"
            for row in plan.rows
        ]
        fenced = ", ".join(plan.fenced) or "nobody"
        return "\n".join([*rows, f"epoch {plan.group_epoch}, fenced: {fenced}"])

    def partitions(self, command: Command) -> tuple[PartitionId, ...]:
        return tuple(map(self.topics.partition, split(command.text("partitions"))))


def group(command: Command) -> GroupId:
    return GroupId(command.text("group", "g"))


def member_id(command: Command) -> MemberId:
    return MemberId(command.text("member"))


def number(command: Command, key: str) -> int | None:
    return command.integer(key) if key in command.arguments else None


def split(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def actor(command: Command) -> Actor:
    """Return who commits: `by=a/1` over stream 1, `by=a@2` in epoch 2, else somebody else."""
    by = command.text("by", "")
    if "/" in by:
        name, _, stream = by.partition("/")
        return ByStream(MemberId(name), StreamNumber(int(stream)))
    if "@" in by:
        name, _, epoch = by.partition("@")
        return ByEpoch(MemberId(name), GroupEpoch(int(epoch)))
    return FromOutside("anna")


SCRIPTS = ("membership", "instances", "commits", "seek", "topics", "expiry")
SETTINGS = GroupSettings(members_max=3, offset_metadata_bytes_max=4)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(scripts: Path, rewrite: bool, name: str) -> None:
    path = scripts / f"consumer_groups/{name}.txt"
    run_script(path, Script(SETTINGS).execute, rewrite=rewrite)


def test_every_answer_is_typed() -> None:
    """A decision that changes nothing still answers, and writes nothing."""
    bench = GroupBench()
    result: Result[GroupRecord, bool] = bench.machine.topics_changed(
        GroupId("g"), now=bench.now, topics=bench.topics
    )
    assert result == Result((), response=False)
