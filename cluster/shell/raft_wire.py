"""The quorum's messages over the links between nodes: frames out, frames in."""

from collections.abc import Callable

from cluster.peer.hello import Hello
from cluster.peer.table import Frame
from cluster.raft.message_frames import decode, encode
from cluster.raft.messages import Message
from model.errors import MalformedError
from model.ids import NodeId


def sender(say: Callable[[NodeId, bytes], object]) -> Callable[[Message], None]:
    """Return a `Doors.send` over links; what no link takes is lost, as any message may be."""

    def send(message: Message) -> None:
        say(message.to.node, encode(message))

    return send


def receiver(
    step: Callable[[Message], None],
) -> Callable[[Hello, Frame, Callable[[bytes], None] | None], None]:
    """Return what takes the frames of the quorum's family; `step` is `RaftQuorum.step`.

    Its caller ends the link at a MalformedError. Nobody speaks for another than who has proven to
    be at the other end, neither for a node nor for a directory.
    """

    def receive(peer: Hello, frame: Frame, answer: Callable[[bytes], None] | None) -> None:
        del answer  # the quorum's answers are messages of their own
        message = decode(frame)
        source = message.source
        if (source.node, source.directory) != (peer.node, peer.directory):
            why = f"says to be from node {source.node}, the link is that of node {peer.node}"
            raise MalformedError(frame.type.name, 0, why)
        step(message)

    return receive
