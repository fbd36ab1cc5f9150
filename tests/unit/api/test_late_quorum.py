"""The quorum before it is found: empty, refusing what is asked as not done, and found once."""

from typing import Any

import pytest

from api.node.late_quorum import LateQuorum
from cluster.controller.image import EMPTY, MetadataDelta, MetadataImage
from cluster.controller.topics import DeleteTopic
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import NodeId


class Found:
    """A quorum that notes what it is asked."""

    image = MetadataImage(cluster_id="tide")
    status = "a status"

    def __init__(self) -> None:
        self.listeners: list[Any] = []
        self.asked: list[Any] = []

    def subscribe(self, listener: Any) -> None:
        self.listeners.append(listener)

    async def propose(self, request: Any) -> Any:
        self.asked.append(request)
        return "answer"

    async def read_barrier(self) -> None:
        self.asked.append("barrier")

    async def change_voters(self, add: Any, remove: Any) -> None:
        self.asked.append((add, remove))

    async def transfer_leadership(self, to: Any) -> None:
        self.asked.append(to)


def late_and_found() -> tuple[LateQuorum, Any]:
    return LateQuorum(), Found()


async def test_before_it_is_found_nothing_is_done() -> None:
    late, _ = late_and_found()
    assert late.image is EMPTY
    assert late.status.leader is None and late.status.members == ()
    for asked in (
        late.propose(DeleteTopic(name="orders")),
        late.read_barrier(),
        late.change_voters((), ()),
        late.transfer_leadership(NodeId(1)),
    ):
        with pytest.raises(RequestError) as refused:
            await asked
        assert refused.value.code is ErrorCode.NO_QUORUM
        assert refused.value.code.outcome is Outcome.NOT_DONE


async def test_once_it_is_found_it_is_that_one() -> None:
    late, found = late_and_found()
    late.found(found)
    assert late.image is found.image and late.status == found.status
    request = DeleteTopic(name="orders")
    answer: object = await late.propose(request)
    assert answer == "answer"
    await late.read_barrier()
    await late.change_voters((NodeId(1),), ())
    await late.transfer_leadership(NodeId(2))
    assert found.asked == [request, "barrier", ((1,), ()), 2]


def test_listeners_keep_their_order_and_are_not_told_of_what_is_there() -> None:
    late, found = late_and_found()
    told: list[str] = []

    def listener(name: str) -> Any:
        def take(image: MetadataImage, delta: MetadataDelta) -> None:
            del image, delta
            told.append(name)

        return take

    early = [listener("first"), listener("second")]
    for one in early:
        late.subscribe(one)
    late.found(found)
    assert told == []
    late.subscribe(after := listener("after"))
    assert found.listeners == [*early, after]


def test_a_quorum_is_found_once() -> None:
    late, found = late_and_found()
    late.found(found)
    with pytest.raises(AssertionError, match="QUORUM_FOUND_ONCE"):
        late.found(found)
