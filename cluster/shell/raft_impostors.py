"""No word of the quorum from a copy of a member whose original is there (P47).

A directory that was copied and started beside its original is the same voter twice, with the same
term and vote on its disk: both could vote in one term. A copy is refused when it registers. Until
then nobody who has the registered process at the other end of a line listens to another one of
that node. Where that process is gone every other one is heard: so it is after any restart.
"""

from collections.abc import Callable

from cluster.controller.image import NO_INCARNATION, MetadataImage
from cluster.peer.hello import Hello
from cluster.peer.table import Frame
from cluster.shell.controller_doors import ControllerLinks
from cluster.shell.peer_answer import Answer
from cluster.shell.peer_links import Handler


def without_impostors(
    handler: Handler, links: ControllerLinks, image: Callable[[], MetadataImage]
) -> Handler:
    """Return what hands frames on, but those of a second process of a node that is reached."""

    def take(peer: Hello, frame: Frame, answer: Answer | None) -> None:
        broker = image().brokers.get(peer.node)
        if broker is not None and broker.incarnation not in {NO_INCARNATION, peer.incarnation}:
            reached = links.peer(peer.node)
            if reached is not None and reached.incarnation == broker.incarnation:
                return
        handler(peer, frame, answer)

    return take
