"""The doors that a node opens: one for each listener that its settings switch on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from api.addresses import split_address
from api.door import Address, Door
from api.http.door import HttpDoor
from api.http.health import Health
from api.http.view import NodeView
from api.kafka.apis import load_schemas, served_apis
from api.kafka.connection import Door as KafkaShared
from api.kafka.counters import KafkaCounters
from api.kafka.door import KafkaDoor
from api.kafka.request import Api
from api.node.assemble import Node
from api.node.logging import EventLog
from api.node.system_limits import descriptors_max
from api.node.world import World
from api.rpc.server import GrpcDoor, serve_other_nodes
from api.settings import NodeSettings
from model.counters import Counters

KAFKA: Final = "kafka"


@dataclass(slots=True)
class Doors:
    """Makes the doors of one node. Loop only."""

    settings: NodeSettings
    world: World
    log: EventLog
    health: Health
    view: NodeView | None = None
    """What the HTTP door looks at; there once the doors are made."""
    warm_up: Callable[[], None] = lambda: None
    """Loads what the first requests need; called once the doors are open."""

    def make(self, node: Node) -> Sequence[Door]:
        """Return every door, none of them open. Probes are answered first."""
        settings = self.settings
        counters = KafkaCounters()
        counted: dict[str, Counters] = {KAFKA: counters}
        self.view = NodeView(
            broker=node.broker,
            settings=settings,
            health=self.health,
            lag=node.lag,
            version=self.world.version,
            started=self.world.clock.monotonic_ms(),
            space=lambda: (self.world.disk.free_bytes(), self.world.disk.total_bytes()),
            tasks=lambda: len(self.world.spawn),
            scrubber=node.scrubber,
            counters=counted,
        )
        serve_other_nodes(node.broker, rand=self.world.rand, note=self.log)
        doors: list[Door] = []
        if settings.http_listener.bind is not None:
            doors.append(HttpDoor(settings.http_listener, self.view))
        if settings.grpc_listener.bind is not None:
            grpc = GrpcDoor(
                node.broker,
                Address(*split_address(settings.grpc_listener.bind)),
                reflection=settings.grpc_listener.reflection,
                rand=self.world.rand,
                note=self.log,
            )
            counted[grpc.name] = grpc.counters
            doors.append(grpc)
        if settings.kafka_listener.bind is not None:
            doors.append(self._kafka(node, counters, bind=settings.kafka_listener.bind))
        return doors

    def opened(self, addresses: Mapping[str, Address]) -> None:
        """Note where the doors really are; get ready for the first requests."""
        if self.view is not None:
            self.view.addresses = dict(addresses)
        self.warm_up()

    def _kafka(self, node: Node, counters: KafkaCounters, *, bind: str) -> Door:
        apis: Mapping[int, Api] = served_apis(self.settings.kafka)
        shared = KafkaShared(
            name=KAFKA,
            broker=node.broker,
            apis=apis,
            settings=self.settings.kafka,
            counters=counters,
            tick=node.tick,
            memory=node.memory,
            answers=node.answers,
            spawn=self.world.spawn,
            note=self.log,
        )
        told = self.settings.kafka_listener.advertise
        self.warm_up = partial(self._load_schemas, node, apis)
        return KafkaDoor(
            shared,
            Address(*split_address(bind)),
            advertise=None if told is None else Address(*split_address(told)),
            clock=self.world.clock,
            descriptors_max=descriptors_max(),
        )

    def _load_schemas(self, node: Node, apis: Mapping[int, Api]) -> None:
        loading = node.broker.context.in_thread(partial(load_schemas, apis))
        self.world.spawn.start(loading, "kafka schemas")
