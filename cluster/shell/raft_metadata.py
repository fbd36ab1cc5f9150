"""The metadata of one member: a machine that may be ahead of the log, and the images it showed.

On a follower the machine is given what is committed. A leader's is ahead: what was decided is
replayed at once, so that the next decision sees it. What it shows is frozen when its entries are
handed to the disk, and published when they are committed. A leadership that ends takes the machine
with it: another one is made from the newest published image and the committed entries behind it.

Invariants:
    QUORUM_DURABLE_NEVER_FALLS   images are published in the order of their entries.
    QUORUM_AHEAD_IN_ORDER        decisions are replayed in the order of their entries.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from cluster.controller.codec import decode, encode
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.image_diff import image_diff
from cluster.controller.machine import ControllerMachine
from cluster.controller.records import MetadataRecord
from cluster.controller.request import Circumstances, Request
from cluster.controller.snapshot import snapshot
from cluster.raft.entry import Entry, EntryKind
from model.errors import DirectoryExit, DirectoryRefused, MalformedError
from model.ids import Index
from model.result import Result

AnswerT = TypeVar("AnswerT")


class Published(NamedTuple):
    """One step of the committed metadata."""

    image: MetadataImage
    delta: MetadataDelta


class RaftMetadata:
    """See the module. One owner at a time: a thread while it is opened, then the loop."""

    def __init__(self, defaults: Mapping[str, str]) -> None:
        """Begin empty. `defaults`: this node's own for its topics, by topic setting's name."""
        self._defaults = defaults
        self._machine = ControllerMachine(defaults)
        self._frozen: deque[Published] = deque()
        self._ahead = Index(0)
        self._image, _ = self._machine.freeze(self._ahead)
        self.bytes_since_snapshot = 0
        """Payload of the entries that were applied since somebody set it to 0."""

    @property
    def image(self) -> MetadataImage:
        """The newest that was published."""
        return self._image

    @property
    def ahead(self) -> Index:
        """The newest entry that the machine has replayed; above the image's while it leads."""
        return self._ahead

    # The leader's part.

    def decide(
        self, request: Request[AnswerT], circumstances: Circumstances
    ) -> Result[MetadataRecord, AnswerT]:
        """Decide on everything that was decided before; change nothing.

        Raises:
            RequestError: refused; it may rest on what is not committed.
        """
        return self._machine.handle(request, circumstances)

    def replay_ahead(self, records: Iterable[MetadataRecord], index: Index) -> None:
        """Replay what was decided and is the log's entry `index`; nobody is shown it yet.

        What this raises is a bug, and the machine is not what any log says.
        """
        assert index > self._ahead, "QUORUM_AHEAD_IN_ORDER"
        for record in records:
            self._machine.replay(record)
        self._ahead = index

    def freeze_ahead(self) -> None:
        """Keep an image of all that was decided: it is published when its entries are committed."""
        newest = self._frozen[-1].image if self._frozen else self._image
        if self._ahead > newest.applied:
            self._frozen.append(Published(*self._machine.freeze(self._ahead)))

    def abandon(self, committed: Sequence[Entry]) -> list[Published]:
        """Forget what is not committed; return what is published instead.

        `committed`: every entry behind the image that this member was given.
        """
        self._frozen.clear()
        if self._ahead > self._image.applied:
            machine = ControllerMachine(self._defaults)
            for record in snapshot(self._image):
                machine.replay(record)
            machine.freeze(self._image.applied)  # what comes behind is told as the step from here
            self._machine, self._ahead = machine, self._image.applied
        return self.apply(committed)

    # Everybody's.

    def apply(self, entries: Sequence[Entry]) -> list[Published]:
        """Take what is committed, in order and without a gap; return what is published by it.

        Raises:
            DirectoryRefused: an entry cannot be read (exit 11), or a newer release wrote it (13).
        """
        for entry in entries:
            self.bytes_since_snapshot += len(entry.payload)
            if entry.index > self._ahead:
                self._replay(entry)
                self._ahead = entry.index
        if not entries:
            return []
        last = entries[-1].index
        published: list[Published] = []
        while self._frozen and self._frozen[0].image.applied <= last:
            published.append(self._publish(self._frozen.popleft()))
        if self._image.applied < last == self._ahead:
            published.append(self._publish(Published(*self._machine.freeze(last))))
        return published

    def restore(self, payload: bytes, index: Index) -> Published:
        """Begin anew from a snapshot's payload; tell the way there as one step.

        Raises:
            DirectoryRefused: it cannot be read (exit 11), or a newer release wrote it (13).
        """
        self._machine = ControllerMachine(self._defaults)
        self._frozen.clear()
        for record in _records(payload, f"the snapshot of entry {index}"):
            self._machine.replay(record)
        self._ahead = index
        self.bytes_since_snapshot = 0
        image, _ = self._machine.freeze(index)
        return self._publish(Published(image, image_diff(self._image, image)))

    def _publish(self, step: Published) -> Published:
        assert step.image.applied > self._image.applied, "QUORUM_DURABLE_NEVER_FALLS"
        self._image = step.image
        return step

    def _replay(self, entry: Entry) -> None:
        if entry.kind == EntryKind.RECORDS:
            for record in _records(entry.payload, f"entry {entry.index}"):
                self._machine.replay(record)
        elif entry.kind not in EntryKind.__members__.values():
            detail = (
                f"entry {entry.index} of the metadata log is of kind {entry.kind}, which this "
                "program does not know: a newer release wrote it"
            )
            raise DirectoryRefused(DirectoryExit.NEWER_FORMAT, detail)


def snapshot_payload(image: MetadataImage) -> bytes:
    """Return what a snapshot of an image holds. Safe in any thread."""
    return encode(snapshot(image))


def _records(payload: bytes, what: str) -> list[MetadataRecord]:
    try:
        return list(decode(payload))
    except MalformedError as damage:
        detail = f"{what} of the metadata log cannot be read: {damage}"
        raise DirectoryRefused(DirectoryExit.FAILED, detail) from damage
