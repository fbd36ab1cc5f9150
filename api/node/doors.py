"""The doors that a node opens: one for each listener that its settings switch on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from api.addresses import reached_by, split_address
from api.crowd import Crowd
from api.door import Address, Door
from api.http.door import HttpDoor
from api.http.health import Health
from api.http.view import NodeView
from api.kafka.apis import load_schemas, served_apis
from api.kafka.connection import Door as KafkaShared
from api.kafka.counters import KafkaCounters
from api.kafka.door import KafkaDoor, Told
from api.kafka.request import Api
from api.node.assemble import Node
from api.node.endpoints import EXTERNAL, GRPC, KAFKA
from api.node.logging import EventLog
from api.node.system_limits import descriptors_max, grpc_connections_max
from api.node.world import World
from api.rpc.guard import Guard
from api.rpc.server import GrpcDoor, serve_other_nodes
from api.settings import ExternalListener, KafkaListener, NodeSettings
from model.counters import Counters


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
        doors: list[Door] = []
        guard: Guard | None = None
        if settings.http_listener.bind is not None:
            doors.append(HttpDoor(settings.http_listener, self.view))
        if settings.grpc_listener.bind is not None:
            grpc = GrpcDoor(
                node.broker,
                Address(*split_address(settings.grpc_listener.bind)),
                reflection=settings.grpc_listener.reflection,
                rand=self.world.rand,
                note=self.log,
                connections_max=grpc_connections_max(descriptors_max()),
            )
            counted[grpc.name] = grpc.counters
            guard = grpc.guard
            doors.append(grpc)
        self.warm_up = partial(self._load_rest, node)
        serve_other_nodes(node.broker, rand=self.world.rand, note=self.log, guard=guard)
        return [*doors, *self._kafka(node, counters)]

    def opened(self, addresses: Mapping[str, Address]) -> None:
        """Note where the doors really are; get ready for the first requests."""
        if self.view is not None:
            self.view.addresses = dict(addresses)
            if GRPC in addresses:  # bound to all addresses, it is found by the machine's name
                host, port = addresses[GRPC]
                self.view.broker.advertise(GRPC, reached_by(host, self.world.machine), port)
        self.warm_up()

    def _kafka(self, node: Node, counters: KafkaCounters) -> Iterator[Door]:
        """Yield the doors for Kafka clients, which share what all clients together may have."""
        listeners: dict[str, KafkaListener | ExternalListener] = {
            KAFKA: self.settings.kafka_listener,
            EXTERNAL: self.settings.external_listener,
        }
        apis: Mapping[int, Api] = served_apis(self.settings.kafka)
        crowd = Crowd()
        for name, listener in listeners.items():
            if listener.bind is None:
                continue
            self.warm_up = partial(self._load_rest, node, apis)
            shared = KafkaShared(
                name=name,
                broker=node.broker,
                apis=apis,
                settings=self.settings.kafka,
                counters=counters,
                tick=node.tick,
                memory=node.memory,
                room=node.room,
                answers=node.answers,
                spawn=self.world.spawn,
                note=self.log,
            )
            told = listener.advertise
            yield KafkaDoor(
                shared,
                Address(*split_address(listener.bind)),
                told=Told(
                    self.world.machine, None if told is None else Address(*split_address(told))
                ),
                clock=self.world.clock,
                descriptors_max=descriptors_max(),
                crowd=crowd,
            )

    def _load_rest(self, node: Node, apis: Mapping[int, Api] | None = None) -> None:
        """Load what a start does without: schemas, and what writes lines of the log."""
        self.world.spawn.start(self._rest_loaded(node, apis or {}), "what a start does without")

    async def _rest_loaded(self, node: Node, apis: Mapping[int, Api]) -> None:
        """Return once it is there.

        What writes the log, even if no line is written: a node that ends for want of descriptors
        has to say so.
        """
        in_thread = node.broker.context.in_thread
        await in_thread(self.log.load)
        await in_thread(partial(load_schemas, apis))
        self.world.loaded()
