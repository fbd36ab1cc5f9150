"""Each invariant of a node among others, broken on purpose: it is refused, not passed over."""

from typing import Any, cast

import pytest

from api.broker.forward import Forwarding
from api.main import _Run
from api.node.alone import Alone
from cluster.peer.forward import Forwarded, encode_forwarded
from cluster.peer.table import SPOKEN, Frame, parse
from model.ids import NodeId

NOTHING: Any = None


def frame_of(raw: bytes) -> Frame:
    return parse(raw, version=SPOKEN.greatest)


def test_an_answer_is_no_call() -> None:
    forwarding = Forwarding(NodeId(1), NOTHING, NOTHING, controller=NOTHING)
    frame = frame_of(encode_forwarded(Forwarded(b""), correlation=1))
    with pytest.raises(AssertionError, match="FORWARD_IS_FORWARDED"):
        forwarding.take(NOTHING, frame, lambda _: None)


def test_nobody_asks_for_metadata_before_the_node_has_entered() -> None:
    alone = Alone(NOTHING, NOTHING, opened=NOTHING, metadata=NOTHING)
    with pytest.raises(AssertionError, match="NODE_HAS_ENTERED"):
        cast(Any, alone.quorum)


def test_no_door_is_open_before_the_node_behind_it_has_started() -> None:
    run: Any = object.__new__(_Run)
    run._node = None
    with pytest.raises(AssertionError, match="NODE_HAS_STARTED"):
        run.ready({})
