"""The replica stream to one node: rows of what to send, room that it takes, words that gather.

Lives from `stream_up` to `stream_lost`; the next one begins with all its room and nothing to say.
"""

from collections.abc import Sequence
from typing import Final

from cluster.peer.replica import Beat, BeatAnswer, Progress
from cluster.peer.replica_frames import OfStream, encode, encode_stream
from cluster.replication.catch_up import Intake, Sender
from cluster.shell.replica_port import Buffer, ReplicaLinks
from model.ids import AppendTimeMs, NodeId, PartitionId

ROOM_BYTES: Final = 16 << 20
"""How much of batches a node takes on one stream before its rounds are done with them."""
FRAME_BYTES: Final = 1 << 20
"""Of one frame's batches, unless a single one is larger: others are not kept waiting for long."""


class ReplicaStream:
    """One stream, both of its ends on this node. Loop only."""

    __slots__ = ("_late", "_links", "broken", "intake", "node", "owes_beat", "progress", "sender")

    def __init__(self, node: NodeId, links: ReplicaLinks) -> None:
        """Begin with all its room."""
        self.node = node
        self._links = links
        self.sender = Sender[PartitionId](room_bytes=ROOM_BYTES, frame_bytes_max=FRAME_BYTES)
        """For partitions that this node leads."""
        self.intake = Intake[PartitionId](room_bytes=ROOM_BYTES)
        """For partitions that it follows there."""
        self.progress: dict[PartitionId, Progress] = {}
        """The newest of each partition, to go out at the end of the tick."""
        self._late: dict[PartitionId, Progress] = {}
        """What only goes out if nothing newer has by the next beat."""
        self.owes_beat: AppendTimeMs | None = None
        """A promise that waits for the clock's reservation."""
        self.broken = False
        """A frame was lost: nothing more is sent, and the stream is to be ended."""

    def say(self, parts: Sequence[Buffer]) -> None:
        """Send one frame, or break."""
        if not self.broken and not self._links.say(self.node, parts):
            self.broken = True

    def say_stream(self, message: OfStream) -> None:
        """Send a frame about the whole stream."""
        self.say([encode_stream(message)])

    def beat(self, closed_time: AppendTimeMs) -> None:
        """Tell what this node's append clock reads."""
        self.say_stream(Beat(closed_time))

    def answer_beat(self, reserved_until: AppendTimeMs) -> None:
        """Promise what is owed, once it is durable here."""
        owed = self.owes_beat
        if owed is not None and owed <= reserved_until:
            self.owes_beat = None
            self.say_stream(BeatAnswer(owed))

    def gather(self, where: PartitionId, message: Progress, *, soon: bool) -> None:
        """Keep a report in an older one's place: until the end of the tick, or until a beat."""
        if soon:
            self._late.pop(where, None)
            self.progress[where] = message
        elif where in self.progress:
            self.progress[where] = message
        else:
            self._late[where] = message

    def tell_late(self) -> None:
        """Let go out what has waited for something newer."""
        late, self._late = self._late, {}
        self.progress |= late

    def report(self, held: "dict[PartitionId, AppendTimeMs]") -> None:
        """Tell how far partitions are, all but those that are held back; give back room."""
        if self.progress:
            told, self.progress = self.progress, {}
            for where, message in told.items():
                if where in held:
                    self.progress[where] = message
                else:
                    self.say([encode(where, message)])
        credit = self.intake.give_back()
        if credit is not None:
            self.say_stream(credit)

    def left(self, where: PartitionId) -> None:
        """Owe the room of what was cut, or sent by a leader whom this node does not follow."""
        self.progress.pop(where, None)
        self._late.pop(where, None)
        self.intake.dropped(where)

    def forget(self, where: PartitionId) -> None:
        """Hold nothing for a partition any more."""
        self.sender.forget(where)
        self.left(where)
