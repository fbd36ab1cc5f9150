"""A member of a group behind a relay: cut off when it is in the middle of its work."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.clients import deliveries
from tests.clients.program import Program
from tests.clients.relay import Message, Relay
from tests.clients.scene import Scene
from tidelog.v1 import group_service_pb2

COMMITS_BEFORE_CUT: Final = 2


class GroupMember:
    """One program that consumes. Its relay checks that it prints before it commits."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.cut_wanted = False
        self.wrong: list[str] = []
        self._scene = scene
        self._name = name
        self._relay = Relay(scene.node, self._hear)
        self._commits = 0
        self._lost: set[tuple[int, int]] = set()
        self._joins: list[group_service_pb2.ConsumeRequest.Join] = []
        self._events_at_cut = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator["GroupMember"]:
        """Have the relay; the program is started by `start`."""
        async with self._relay.open() as self._address:
            yield self

    def start(self) -> None:
        """Start the program."""
        words = ["consume", self._scene.group, self._scene.topic]
        self.program: Program = self._scene.start(self._name, words, address=self._address)

    @property
    def held(self) -> set[int]:
        """The partitions that it says it has."""
        return deliveries.held(self.program.events)

    def committed(self, epoch: int) -> set[tuple[int, int]]:
        """Return what it has committed in this epoch or later."""
        return deliveries.committed(self.program.events, epoch)

    def _hear(self, message: Message) -> bool:
        if message.to_node:
            request = group_service_pb2.ConsumeRequest.FromString(message.payload)
            self._heard_request(request)
            return False
        response = group_service_pb2.ConsumeResponse.FromString(message.payload)
        if self.cut_wanted and response.HasField("committed"):
            self._commits += 1
        if self._commits < COMMITS_BEFORE_CUT or not response.HasField("records"):
            return False
        self._lost = {
            (step.next.partition, record.offset)
            for step in response.records.partitions
            for batch in step.batches
            for record in batch.records
        }
        self.cut_wanted, self._commits = not self._lost, 0
        return bool(self._lost)

    def _heard_request(self, request: group_service_pb2.ConsumeRequest) -> None:
        """Look at a commit on its way: what it covers must have been printed before."""
        if request.HasField("join"):
            self._joins.append(request.join)
        if not request.HasField("commit"):
            return
        self.program.drain()
        printed = deliveries.printed(self.program.events)
        self.wrong += [
            f"{self.program.name}: commits {cursor.partition}/{cursor.offset} and has printed "
            f"up to {printed.get(cursor.partition)}"
            for cursor in request.commit.cursors
            if cursor.offset > printed.get(cursor.partition, -1)
        ]

    def unlike_resumed(self) -> list[str]:
        """Say what is wrong with how it was cut off and came back."""
        if self._relay.cuts != 1 or not self._lost:
            return ["it was never cut off while records were on their way"]
        wrong: list[str] = []
        names = [event["event"] for event in self.program.events]
        if "cut" not in names:
            return ["it has not noticed that it was cut off"]
        before = self.program.events[: names.index("cut")]
        after = self.program.events[names.index("cut") :]
        if not any(event["event"] == "record" for event in before):
            wrong.append("it was cut off before its work began")
        places = {(e["partition"], e["offset"]) for e in after if e["event"] == "record"}
        if not self._lost <= places:
            wrong.append(f"{len(self._lost - places)} records that were on their way never came")
        resumes = [join for join in self._joins if join.HasField("member")]
        if not resumes or not {cursor.partition for cursor in resumes[0].cursors} >= self.held:
            wrong.append("it did not resume with its membership and its cursors")
        ids = {event["member_id"] for event in self.program.named("joined")}
        if len(ids) != 1:
            wrong.append(f"it came back as another member: {sorted(ids)}")
        return wrong
