"""The controller's shell of one node, put together: what whoever assembles a node makes and calls.

links = PeerLinks(...)
addresses = PeerAddresses(links)
deaths = Deaths(clock, links, refused_ms=settings.broker_refused_ms)
links.subscribe(addresses); links.subscribe(deaths)
bootstrap = Bootstrap(links, QuorumBook(disk, run_blocking, me), Empty(...), seeds=..., ...)
frames = ControllerFrames(spawn, bootstrap.seed_answer)
links.route(Family.CONTROLLER, frames.take)
links.listen(...)                              then seeds may answer, and be answered
voters = await bootstrap.voters()
quorum = await RaftQuorum.open(..., voters=voters)     with `send=sender(links.say)`
links.route(Family.RAFT, receiver(quorum.step))
bootstrap.follows(quorum)
shell = ControllerShell(ControllerDoors(...), addresses, deaths, defaults=...)
frames.serve(shell.service)
spawn.start(quorum.run(), ...)
await shell.client.register(Starting(...))     this node's image has it then
shell.client.start()                           at once: a session runs from here
...                                            host partitions; `shell.isr` is their controller
shell.isr.start(); shell.recovered.start()
...                                            serve; `shell.quorum` is the use cases' quorum
await shell.client.leave(patience_ms=...)      clients are still served
...                                            stop in order
await shell.client.last_word()
shell.stop(); quorum.stop()
"""

from collections.abc import Callable, Mapping

from cluster.controller.image import LogEnd
from cluster.shell.controller_active import ActiveController
from cluster.shell.controller_addresses import PeerAddresses
from cluster.shell.controller_calls import ControllerCalls
from cluster.shell.controller_client import ControllerClient
from cluster.shell.controller_deaths import DeathEvents, Deaths
from cluster.shell.controller_doors import ControllerDoors
from cluster.shell.controller_forward import ForwardingQuorum
from cluster.shell.controller_isr import IsrController
from cluster.shell.controller_recovered import RecoveredLogs
from cluster.shell.controller_service import ControllerService
from cluster.shell.raft_quorum import RaftQuorum
from model.ids import NodeId, PartitionId


class ControllerShell:
    """See the module. Made before the quorum runs. Loop only."""

    def __init__(
        self,
        doors: ControllerDoors,
        addresses: PeerAddresses,
        deaths: Deaths,
        *,
        defaults: Mapping[str, str],
        isr_refused: Callable[[PartitionId, int], None],
        end_of: Callable[[PartitionId], LogEnd],
    ) -> None:
        """Wire it to the quorum.

        Args:
            doors: Its doors.
            addresses: Subscribed to the links already.
            deaths: Likewise.
            defaults: This node's own for its topics, as the quorum has them.
            isr_refused: `ReplicaStreams.isr_refused`.
            end_of: Where this node's log of a partition ends, as it was recovered.
        """
        addresses.load(doors.quorum.image)
        doors.quorum.subscribe(addresses.applied)
        deaths.subscribe(_Gone(doors.quorum))
        self._active = ActiveController(doors, deaths)
        self.service = ControllerService(doors, self._active)
        calls = ControllerCalls(doors, self.service, addresses)
        self.client = ControllerClient(doors, calls)
        self.quorum = ForwardingQuorum(doors, calls, defaults)
        self.isr = IsrController(doors, calls, self.client, refused=isr_refused)
        self.recovered = RecoveredLogs(doors, calls, self.client, end_of=end_of)
        self._active.start()

    @property
    def active(self) -> bool:
        """Whether this node is the active controller."""
        return self._active.active

    def stop(self) -> None:
        """Hold no sessions any more."""
        self._active.stop()


class _Gone(DeathEvents):
    """Tells the quorum of a death: nobody waits for its leader's silence."""

    def __init__(self, quorum: RaftQuorum) -> None:
        self._quorum = quorum

    def dead(self, node: NodeId) -> None:
        self._quorum.peer_gone(node)
