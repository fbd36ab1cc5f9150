"""A node in this process whose metadata say that other nodes lead: their answers are the test's."""

from collections.abc import Awaitable, Callable
from typing import Any

from api.broker.forward import GRACE_MS, Forwarding
from cluster.controller.brokers import RegisterBroker
from cluster.controller.image import TopicImage
from cluster.controller.topics import CreateTopic
from model.ids import NodeId
from model.principal import Principal
from tests.broker_node import BrokerNode

OTHER, THIRD = NodeId(7), NodeId(8)
Answer = Callable[[NodeId, str, bytes], Awaitable[bytes]]


class Elsewhere(Forwarding):
    """What is taken to other nodes; `answer` answers it, or raises their refusal."""

    def __init__(self, node: BrokerNode, answer: Answer) -> None:
        context = node.broker.context
        nothing: Any = None
        super().__init__(context.node, nothing, context.spawn, controller=lambda: context.node)
        context.forwarding = self
        self.answer = answer
        self.waits: list[int] = []
        """How long each answer is waited for, in ms."""
        self.asked: list[tuple[NodeId, str, bytes]] = []

    async def call(
        self,
        node: NodeId,
        name: str,
        principal: Principal,
        *,
        payload: bytes,
        left_ms: int,
        grace_ms: int = GRACE_MS,
    ) -> bytes:
        self.waits.append(left_ms + grace_ms)
        self.asked.append((node, name, payload))
        return await self.answer(node, name, payload)

    @property
    def names(self) -> list[str]:
        """Which calls were taken elsewhere."""
        return [name for _, name, _ in self.asked]


async def led_by(node: BrokerNode, name: str, *leaders: NodeId) -> TopicImage:
    """Create a topic of which each partition is led by one of these."""
    quorum = node.broker.context.quorum
    for one in set(leaders) - {node.broker.node_id} - quorum.image.brokers.keys():
        directory = int(one).to_bytes(16, "big")
        await quorum.propose(RegisterBroker(node=one, directory=directory, clean=True))
    topic = await quorum.propose(
        CreateTopic(name=name, assignments=tuple((one,) for one in leaders))
    )
    assert [row.leader for row in topic.partitions] == list(leaders)
    return topic
