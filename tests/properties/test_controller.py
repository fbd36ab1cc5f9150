"""The controller against a plain dictionary, with crashes between and inside any two proposals.

What was answered is there after every crash, whole; what was not answered is there whole or not at
all, and nothing after it is there without it. A crash stops the process at some operation of the
disk, and then, mostly, cuts the power: any part of what was not synced is left.
"""

from asyncio import AbstractEventLoop, CancelledError, gather, new_event_loop
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from api.sim.disk import SimDisk
from api.sim.faults import Operation
from cluster.controller.alter_config import AlterTopicConfig
from cluster.controller.brokers import RegisterBroker
from cluster.controller.image import MetadataImage, TopicImage
from cluster.controller.partitions import AddPartitions
from cluster.controller.producer_ids import AllocateProducerIds, ProducerIds
from cluster.controller.request import Request
from cluster.controller.topics import CreateTopic, DeleteTopic, TopicRemoved
from cluster.settings import ClusterSettings
from model.errors import Outcome, RequestError
from tests.quorum import DIRECTORY_UUID, NODE, REGISTER, open_voter

NAMES = [f"t{number}" for number in range(4)]
SMALL = ClusterSettings(quorum_snapshot_entries=5, quorum_file_bytes=1_024)


class PowerOff(BaseException):
    """The process ends here: nothing catches it."""


@dataclass
class Topic:
    """A topic, as a dictionary would hold it."""

    partitions: int
    config: dict[str, str] = field(default_factory=dict)
    epoch: int = 0

    def change(self, request: AddPartitions | AlterTopicConfig) -> bool:
        """Take a change in; tell whether it is refused."""
        match request:
            case AddPartitions(partitions=partitions):
                if partitions < self.partitions:
                    return True
                self.partitions = partitions
            case AlterTopicConfig(set=given, unset=unset):
                config = self.config | dict(given)
                self.config = {k: v for k, v in config.items() if k not in unset}
        return False


@dataclass
class Model:
    """What the metadata should be."""

    topics: dict[str, Topic] = field(default_factory=dict)
    producer_ids: int = 0

    def copy(self) -> "Model":
        topics = {
            name: Topic(topic.partitions, dict(topic.config), topic.epoch)
            for name, topic in self.topics.items()
        }
        return Model(topics, self.producer_ids)

    def apply(self, request: Request[object]) -> bool:
        """Take a request in; tell whether it is refused."""
        match request:
            case CreateTopic(name=name, partitions=partitions, config=config):
                if name in self.topics:
                    return True
                self.topics[name] = Topic(partitions or 1, dict(config))
            case DeleteTopic(name=str(name)):
                return self.topics.pop(name, None) is None
            case AddPartitions(name=name) | AlterTopicConfig(name=name):
                return name not in self.topics or self.topics[name].change(request)
            case AllocateProducerIds():
                self.producer_ids += 1_000
            case RegisterBroker(clean=False):
                for topic in self.topics.values():
                    topic.epoch += 1
            case _:  # a clean registration
                assert isinstance(request, RegisterBroker)
        return False


def seen(image: MetadataImage) -> Model:
    """Return what an image says. Partitions added after an unclean start begin in epoch 0."""
    topics = {
        str(topic.name): Topic(
            len(topic.partitions), dict(topic.config), topic.partitions[0].leader_epoch
        )
        for topic in image.topics.values()
    }
    assert {topic.topic_id for topic in image.topics.values()} == set(image.topics_by_id)
    assert not image.deleted.keys() & image.topics_by_id.keys()
    return Model(topics, image.next_producer_id)


Batch: TypeAlias = list[Request[object]]
seeds = st.integers(0, 1 << 30)
requests = st.one_of(
    st.builds(
        CreateTopic,
        name=st.sampled_from(NAMES),
        partitions=st.integers(1, 3),
        config=st.sampled_from([{}, {"retention.ms": "5"}]),
    ),
    st.builds(DeleteTopic, name=st.sampled_from(NAMES)),
    st.builds(AddPartitions, name=st.sampled_from(NAMES), partitions=st.integers(1, 5)),
    st.builds(
        AlterTopicConfig,
        name=st.sampled_from(NAMES),
        set=st.dictionaries(st.just("segment.ms"), st.sampled_from(["7", "8"])),
        unset=st.sampled_from([(), ("retention.ms",)]),
    ),
    st.builds(AllocateProducerIds, node=st.just(NODE)),
    st.builds(
        RegisterBroker,
        node=st.just(NODE),
        directory=st.just(DIRECTORY_UUID),
        clean=st.booleans(),
    ),
)

batches = st.lists(requests, min_size=1, max_size=5)


class Quorum(RuleBasedStateMachine):
    """One voter on a disk that crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: AbstractEventLoop = new_event_loop()
        self.disk = SimDisk()
        self.model = Model()
        self.ids: set[bytes] = set()
        self.producer_ids = 0
        self.starts = 0
        self.term = 0
        self.start()

    def teardown(self) -> None:
        self.end_task()
        self.loop.close()

    def start(self) -> None:
        """Open the quorum and let it run; PowerOff may end it here as well."""
        self.starts += 1
        opening = open_voter(self.disk, settings=SMALL, seed=self.starts)
        self.voter = self.loop.run_until_complete(opening)
        assert self.voter.term > self.term, "RAFT_TERM_RISES"
        self.term = self.voter.term
        self.task = self.loop.create_task(self.voter.run())

    @initialize()
    def register(self) -> None:
        self.together([REGISTER])

    @rule(batch=batches)
    def together(self, batch: Batch) -> None:
        """Proposals that arrive together are decided in order, and share a round."""
        for request, answer in zip(batch, self.propose(batch), strict=True):
            refused = self.model.apply(request)
            assert isinstance(answer, RequestError) == refused, f"{request}: {answer}"
            self.note(request, answer)
        assert seen(self.voter.image) == self.model

    @rule(batch=batches, at=st.integers(0, 9), seed=seeds)
    def crash(self, batch: Batch, at: int, seed: int) -> None:
        """The process ends at the disk operation of that number, and the power with it, mostly."""
        self.arm(at)
        answers = self.propose(batch)
        self.restart(seed)
        states = [self.model]
        least = 0
        for request, answer in zip(batch, answers, strict=True):
            states.append(states[-1].copy())
            refused = states[-1].apply(request)
            if isinstance(answer, RequestError) and answer.code.outcome is Outcome.UNKNOWN:
                continue
            assert isinstance(answer, RequestError) == refused, f"{request}: {answer}"
            least = len(states) - 1  # it was answered: so nothing before it is missing
            self.note(request, answer)
        found = seen(self.voter.image)
        assert found in states[least:], f"{found} is none of {states[least:]}"
        self.model = found
        self.ids |= set(self.voter.image.topics_by_id)

    @rule(at=st.integers(0, 9), seed=seeds)
    def crash_at_the_start(self, at: int, seed: int) -> None:
        """Recovery itself is cut short, also twice: the next one finds the same."""
        self.restart(seed, cut_short_at=at)
        assert seen(self.voter.image) == self.model

    @rule(seed=seeds)
    def remove_files(self, seed: int) -> None:
        """Deleted topics are forgotten once their files are gone."""
        deleted = sorted(self.voter.image.deleted)
        self.propose([TopicRemoved(topic_id=topic_id, node=NODE) for topic_id in deleted])
        self.restart(seed)
        assert not self.voter.image.deleted
        assert seen(self.voter.image) == self.model

    def note(self, request: Request[object], answer: object) -> None:
        """Hold what was answered against everything that was answered before."""
        if isinstance(request, CreateTopic) and isinstance(answer, TopicImage):
            assert answer.topic_id not in self.ids, "TOPIC_ID_ONCE"
            self.ids.add(answer.topic_id)
        if isinstance(answer, ProducerIds):
            assert answer.first >= self.producer_ids, "PRODUCER_ID_ONCE"
            self.producer_ids = answer.first + answer.count

    def propose(self, batch: Batch) -> list[object]:
        """Propose all at once; return answers and refusals."""

        async def together() -> list[object]:
            asked = [self.voter.propose(request) for request in batch]
            return await gather(*asked, return_exceptions=True)

        return self.loop.run_until_complete(together())

    def arm(self, at: int) -> None:
        """Let the process end at that operation from now on."""
        left = [at]

        def count(operation: Operation, name: str, size: int) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise PowerOff

        self.disk.before = count

    def end_task(self) -> None:
        """End the process as far as the loop knows of it."""

        async def ended() -> None:
            self.task.cancel()
            with suppress(PowerOff, CancelledError):
                await self.task

        self.loop.run_until_complete(ended())

    def restart(self, seed: int, *, cut_short_at: int | None = None) -> None:
        """End the process, and mostly the power; start again until it comes up."""
        chance = Random(seed)
        self.disk.before = None
        self.end_task()
        while True:
            self.disk.before = None
            if chance.randrange(4):
                self.disk.power_cut(lambda pending: pending.some(chance))
            else:
                self.disk.kill()
            if cut_short_at is not None:
                self.arm(cut_short_at)
                cut_short_at = None if chance.randrange(2) else cut_short_at + 1
            with suppress(PowerOff):
                self.start()
                if self.disk.before is None:
                    return
                self.end_task()


TestQuorum = Quorum.TestCase
TestQuorum.settings = settings(stateful_step_count=20)
