"""Which process of a node the quorum listens to, where there are two."""

from typing import Any

import pytest

from cluster.controller.image import NO_INCARNATION, BrokerImage, MetadataImage
from cluster.peer.hello import Hello
from cluster.shell.raft_impostors import without_impostors
from model.ids import NodeId, RegistrationEpoch
from tests.peer_network import hello_of

FIRST, SECOND = hello_of(1, incarnation=1), hello_of(1, incarnation=2)
FRAME: Any = object()


class Links:
    """Whom this node has reached."""

    def __init__(self, reached: Hello | None) -> None:
        self._reached = reached

    def peer(self, node: NodeId) -> Hello | None:
        assert node == 1
        return self._reached


def heard(*, registered: bytes | None, reached: Hello | None, peer: Hello) -> bool:
    """Tell whether a frame of a process is handed on."""
    brokers = {}
    if registered is not None:
        brokers[NodeId(1)] = BrokerImage(
            node=NodeId(1),
            directory=FIRST.directory,
            registration_epoch=RegistrationEpoch(1),
            endpoints=(),
            rack=None,
            version="",
            incarnation=registered,
        )
    image, taken = MetadataImage(brokers=brokers), []
    links: Any = Links(reached)
    take = without_impostors(lambda *frame: taken.append(frame), links, lambda: image)
    take(peer, FRAME, None)
    assert taken in ([], [(peer, FRAME, None)])
    return bool(taken)


@pytest.mark.parametrize("reached", [None, FIRST, SECOND])
def test_a_registered_process_is_heard(reached: Hello | None) -> None:
    assert heard(registered=FIRST.incarnation, reached=reached, peer=FIRST)


def test_a_copy_of_a_process_that_is_there_is_not_heard() -> None:
    assert not heard(registered=FIRST.incarnation, reached=FIRST, peer=SECOND)


@pytest.mark.parametrize("reached", [None, SECOND])
def test_who_comes_after_a_process_that_is_gone_is_heard(reached: Hello | None) -> None:
    """Else no quorum could form again after all were killed: it takes one to register."""
    assert heard(registered=FIRST.incarnation, reached=reached, peer=SECOND)


@pytest.mark.parametrize("registered", [None, NO_INCARNATION])
def test_before_anybody_is_registered_everybody_is_heard(registered: bytes | None) -> None:
    assert heard(registered=registered, reached=FIRST, peer=SECOND)
