"""When members' times run out, told as a script."""

from pathlib import Path

from consumer_groups.deadlines import (
    STALE_MAX,
    Deadlines,
    Due,
    ResumeEnded,
    RevokeOverdue,
    SessionEnded,
)
from consumer_groups.records import GroupEpoch, MemberId, Owned, StreamNumber
from consumer_groups.views import MemberView
from model.ids import GroupId, MonotonicMs, PartitionId, TopicId
from tests.datadriven import Command, run_script

GROUP = GroupId("g")
TOPIC = TopicId(bytes(16))


class Watch:
    """One table and its members, of group g: session 8 s, rebalance 60 s, resume 2 s."""

    def __init__(self) -> None:
        self.table = Deadlines()

    def execute(self, command: Command) -> str:
        """Run one command at `now`; `due` says what falls due, then when to ask again."""
        now = MonotonicMs(command.integer("now", 0))
        member_id = MemberId(command.text("member", ""))
        stream = StreamNumber(command.integer("stream", 1))
        match command.name:
            case "attach":
                self.table.attach(GROUP, member(command), now=now)
            case "restore":
                self.table.restore(GROUP, member(command), now=now)
            case "follow":
                self.table.follow(GROUP, member(command), now=now)
            case "heard":
                self.table.heard(GROUP, member_id, stream, now=now)
            case "detach":
                self.table.detach(GROUP, member_id, stream, now=now)
            case "forget":
                self.table.forget(GROUP, member_id)
            case "left":
                (hold,) = member(command).revoking
                return f"{self.table.time_left_ms(GROUP, member_id, hold, now=now)}"
            case "due":
                said = [told(due) for due in self.table.due(now)]
                return "\n".join([*said, f"next {self.table.next()}"])
            case unknown:
                raise ValueError(unknown)
        return f"next {self.table.next()}"


def member(command: Command) -> MemberView:
    holds = [hold.split("@") for hold in command.text("revoking", "").split(",") if hold]
    return MemberView(
        member_id=MemberId(command.text("member")),
        epoch=GroupEpoch(1),
        stream=StreamNumber(command.integer("stream", 1)),
        instance_id=None,
        client_id="",
        host="",
        topics=(),
        session_timeout_ms=command.integer("session", 8_000),
        rebalance_timeout_ms=60_000,
        resume_timeout_ms=command.integer("resume", 2_000),
        owned=(),
        revoking=tuple(
            Owned(PartitionId(TOPIC, int(number)), GroupEpoch(int(since)))
            for number, since in holds
        ),
        pending=(),
    )


def told(due: Due) -> str:
    match due:
        case SessionEnded():
            return f"{due.member_id}: silent on stream {due.stream}"
        case ResumeEnded():
            return f"{due.member_id}: not back since stream {due.stream}"
        case RevokeOverdue():
            holds = [f"{hold.partition.number}@{hold.since_epoch}" for hold in due.overdue]
            return f"{due.member_id}: keeps {' '.join(holds)}"


def test_script(scripts: Path, rewrite: bool) -> None:
    run_script(scripts / "consumer_groups/deadlines.txt", Watch().execute, rewrite=rewrite)


def test_heartbeats_of_many_leave_no_trace_in_the_table() -> None:
    """Every member stands in the heap once, however often it is heard."""
    watch = Watch()
    for number in range(100):
        command = Command("attach", {"member": f"m{number}", "now": "0"})
        watch.execute(command)
    for beat in range(1, 200):
        now = MonotonicMs(beat * 2_000)
        for number in range(100):
            watch.table.heard(GROUP, MemberId(f"m{number}"), StreamNumber(1), now=now)
        assert watch.table.due(now) == []
    assert len(watch.table._heap) == 100


def test_streams_that_break_and_come_back_leave_no_trace_in_the_table() -> None:
    """However far off the end of their sessions is, behind that of somebody else."""
    watch = Watch()
    watch.execute(Command("attach", {"member": "n", "session": "3000000"}))
    for back in range(500):
        came, arguments = back * 3_000, {"member": "m", "stream": str(back), "session": "3600000"}
        watch.execute(Command("attach", {**arguments, "now": str(came)}))
        assert watch.table.due(MonotonicMs(came + 1_500)) == []  # its former end would be now
        watch.execute(Command("detach", {**arguments, "now": str(came + 2_000)}))
        assert len(watch.table._heap) <= 4 + STALE_MAX
    (due,) = watch.table.due(MonotonicMs(500 * 3_000 + 1_500))
    assert told(due) == "m: not back since stream 499"


def test_members_that_are_forgotten_leave_no_trace_in_the_table() -> None:
    watch = Watch()
    for number in range(1_000):
        watch.execute(Command("attach", {"member": f"m{number}", "now": "0"}))
        watch.execute(Command("forget", {"member": f"m{number - 1}"}))
    assert len(watch.table._heap) <= 4 + STALE_MAX
