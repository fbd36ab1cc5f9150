"""Whatever is answered survives every loss of leadership and every end, in the answers' order.

A host over a log that commits late, whose uncommitted tail may vanish, with snapshots that are
written late and restored from, is held against a plain dictionary of what was committed.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.state_partition.host import Frozen, Reply, StateHost
from cluster.state_partition.snapshot_plan import SnapshotPlan
from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupRecord, OffsetCommitted
from consumer_groups.settings import GroupSettings
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, Offset
from model.result import Result
from tests.group_state import ORDERS, commit_of

NAMES = ("g", "h")
EVERY = 3


class Coordinator(RuleBasedStateMachine):
    """Two groups' offsets. A log is a list of records; `start` of them are gone by a trim."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[GroupRecord] = []
        self.start = 0
        self.mark = 0
        self.files: list[Frozen[GroupRecord]] = []
        self.plan = SnapshotPlan[GroupRecord](EVERY)
        self.writing: Frozen[GroupRecord] | None = None
        self.asked: dict[int, tuple[str, int | None]] = {}
        self.order: list[int] = []
        self.known: dict[str, int] = {}
        self.leading = self.full = False
        self.host = StateHost[GroupMachine, GroupRecord, int](self)

    # The log.

    def append(self, records: tuple[GroupRecord, ...]) -> Offset:
        if self.full:
            raise RequestError(ErrorCode.DISK_FULL, "no room")
        self.records += records
        return Offset(len(self.records))

    def told(self, end: int) -> dict[str, int]:
        """Return the model: what the first `end` records say."""
        return {
            record.group: record.offset
            for record in self.records[:end]
            if isinstance(record, OffsetCommitted)
        }

    # Events.

    @rule(lost=st.integers(0, 5))
    def change_leader(self, lost: int) -> None:
        """Or restart: state, frozen state and whoever waits are gone, files and log stay."""
        for reply in self.host.resign():
            assert isinstance(reply.answer, RequestError)
            assert reply.answer.code is ErrorCode.LEADERSHIP_LOST
            self.order.remove(reply.token)
        del self.records[max(self.mark, len(self.records) - lost) :]
        self.writing = None
        machine = GroupMachine(GroupSettings())
        kept = tuple(frozen.offset for frozen in self.files)
        at = 0
        if self.files:
            at = self.files[-1].offset
            for record in self.files[-1].records:
                machine.replay(record)
        assert at >= self.start
        for record in self.records[at:]:
            machine.replay(record)
        self.plan = SnapshotPlan(EVERY, kept=kept)
        self.host.lead(machine, end=Offset(len(self.records)))
        self.leading = True

    @precondition(lambda self: self.leading)
    @rule(name=st.sampled_from(NAMES), full=st.booleans())
    def commit(self, name: str, full: bool) -> None:
        token = len(self.asked) + 1
        self.full, before = full, len(self.records)
        self.asked[token] = (name, None if full else token)
        self.order.append(token)

        def decide(machine: GroupMachine) -> Result[GroupRecord, int]:
            result = commit_of(machine, AppendTimeMs(1), group=name, offset=token)
            assert len(self.records) == before, "deciding changes nothing"
            return Result(result.records, token)

        self.hear(self.host.handle(token, decide))
        assert (len(self.records) == before) == full

    @precondition(lambda self: self.leading)
    @rule(name=st.sampled_from(NAMES))
    def fetch(self, name: str) -> None:
        token = len(self.asked) + 1
        self.asked[token] = (name, None)
        self.order.append(token)

        def view(machine: GroupMachine) -> Result[GroupRecord, int | None]:
            found = machine.committed(GroupId(name), ORDERS)
            seen = None if found is None else found.offset
            assert seen == self.told(len(self.records)).get(name)
            return Result((), seen)

        self.hear(self.host.handle(token, view))

    @precondition(lambda self: self.leading)
    @rule(records=st.integers(1, 4))
    def advance(self, records: int) -> None:
        self.mark = min(len(self.records), self.mark + records)
        self.hear(self.host.advance(Offset(self.mark)))
        self.snapshot()

    def snapshot(self) -> None:
        if self.plan.wants(self.host.end):
            frozen = self.host.freeze()
            assert frozen is not None
            self.plan.took(frozen)
        self.writing = self.plan.due(Offset(self.mark)) or self.writing

    @precondition(lambda self: self.writing is not None)
    @rule(trims=st.booleans())
    def written(self, trims: bool) -> None:
        """The file is there; a crash may come before the trim."""
        assert self.writing is not None
        assert self.writing.offset <= self.mark
        self.files = [*self.files, self.writing][-2:]
        self.writing = None
        self.plan.written(high_watermark=Offset(self.mark))
        if trims and self.plan.trim_to is not None:
            self.start = max(self.start, self.plan.trim_to)

    # What holds.

    def hear(self, replies: list[Reply[int]]) -> None:
        """Answers come in the order of the questions, and only of what is committed."""
        durable = self.told(self.mark)
        for token, answer in replies:
            assert token == self.order.pop(0)
            name, wrote = self.asked[token]
            if isinstance(answer, RequestError):
                assert answer.code is ErrorCode.DISK_FULL
                continue
            if wrote is None and answer is None:
                assert name not in self.known
                continue
            assert isinstance(answer, int)
            assert answer in self.committed(name)
            assert answer >= self.known.get(name, 0)
            self.known[name] = answer
            assert durable[name] >= answer

    def committed(self, name: str) -> set[int]:
        return {
            record.offset
            for record in self.records[: self.mark]
            if isinstance(record, OffsetCommitted) and record.group == name
        }

    @invariant()
    def every_file_is_what_its_log_said(self) -> None:
        for frozen in self.files:
            found = {
                record.group: record.offset
                for record in frozen.records
                if isinstance(record, OffsetCommitted)
            }
            assert found == self.told(frozen.offset)
        if len(self.files) == 2:
            assert self.start <= self.files[0].offset


TestCoordinator = Coordinator.TestCase
