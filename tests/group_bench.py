"""A group machine with its log and the cluster's topics, for scripts and property tests.

Every decision passes through its bytes into the machine, and after each one a second machine is
brought up from the snapshot and held against the first.
"""

from typing import TypeVar

from consumer_groups.codec import decode, encode
from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupRecord, Owned
from consumer_groups.settings import GroupSettings
from consumer_groups.topics import TopicPartitions
from model.ids import AppendTimeMs, PartitionId, TopicId, TopicName
from model.result import Result

AnswerT = TypeVar("AnswerT")


class Topics:
    """Topics whose ids count up: the first is 16 bytes of 1. An id is never used again."""

    def __init__(self) -> None:
        self.there: dict[TopicName, TopicPartitions] = {}
        self.made = 0

    def create(self, name: str, partitions: int) -> TopicId:
        self.made += 1
        topic = TopicId(bytes([self.made]) * 16)
        self.there[TopicName(name)] = TopicPartitions(topic, partitions)
        return topic

    def grow(self, name: str, partitions: int) -> None:
        topic, before = self.there[TopicName(name)]
        assert partitions > before
        self.there[TopicName(name)] = TopicPartitions(topic, partitions)

    def delete(self, name: str) -> TopicId:
        return self.there.pop(TopicName(name)).topic

    def find(self, name: TopicName) -> TopicPartitions | None:
        return self.there.get(name)

    def name_of(self, topic: TopicId) -> TopicName | None:
        return next((name for name, row in self.there.items() if row.topic == topic), None)

    def partition(self, text: str) -> PartitionId:
        """Return the partition that `orders/0` names; `#1/0` is of the topic made first."""
        name, _, number = text.partition("/")
        if name.startswith("#"):
            return PartitionId(TopicId(bytes([int(name[1:])]) * 16), int(number))
        return PartitionId(self.there[TopicName(name)].topic, int(number))

    def named(self, partition: PartitionId) -> str:
        name = self.name_of(partition.topic)
        return f"{name or f'#{partition.topic[0]}'}/{partition.number}"

    def hold(self, owned: Owned) -> str:
        return f"{self.named(owned.partition)}@{owned.since_epoch}"


class GroupBench:
    """One machine, its log, and time that is told."""

    def __init__(self, settings: GroupSettings | None = None) -> None:
        self.settings = settings or GroupSettings()
        self.machine = GroupMachine(self.settings)
        self.topics = Topics()
        self.now = AppendTimeMs(1_000)
        self.log: list[GroupRecord] = []

    def take(self, result: Result[GroupRecord, AnswerT]) -> AnswerT:
        """Append, replay and check what was decided."""
        for record in result.records:
            again = decode(*encode(record))
            assert again == record
            self.machine.replay(again)
            self.log.append(again)
        self.check_snapshot()
        return result.response

    def check_snapshot(self) -> None:
        """Hold a machine made from the snapshot against the one that saw every record."""
        restored = GroupMachine(self.settings)
        for record in self.machine.snapshot():
            restored.replay(decode(*encode(record)))
        assert restored.snapshot() == self.machine.snapshot()
        assert shown(restored) == shown(self.machine)


def shown(machine: GroupMachine) -> list[object]:
    """Return everything that a machine tells."""
    summaries = machine.list()
    return [
        *summaries,
        *(machine.group(row.group) for row in summaries),
        *(machine.offsets(row.group) for row in summaries),
    ]
