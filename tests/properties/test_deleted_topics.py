"""What is remembered of deleted topics, against a plain list of them."""

from dataclasses import replace
from typing import Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.controller.deleted_topics import DeletedTopics, GivenUp
from model.ids import NodeId, TopicId
from model.limits import REMOVALS_AWAITED_MAX

NODES: Final = tuple(map(NodeId, range(1, 5)))
TOPICS: Final = 12
FEW: Final = 4


class Step(NamedTuple):
    """Delete the next topic; or one of those is removed from nodes; or nodes are forgotten."""

    what: str
    nodes: frozenset[NodeId]
    number: int


steps_of_all_kinds = st.builds(
    Step,
    st.sampled_from(("deleted", "deleted", "removed", "without")),
    st.frozensets(st.sampled_from(NODES), min_size=1),
    st.integers(0, TOPICS),
)


class Plain:
    """Every deletion that anybody is waited for with, oldest first."""

    def __init__(self) -> None:
        self.rows: dict[TopicId, frozenset[NodeId]] = {}

    def deleted(self, topic_id: TopicId, nodes: frozenset[NodeId]) -> list[GivenUp]:
        self.rows[topic_id] = nodes
        given_up = []
        for node in sorted(nodes):
            waiting = [one for one, its in self.rows.items() if node in its]
            for one in waiting[:-FEW]:
                given_up.append(GivenUp(node, one))
                self.removed(one, frozenset({node}))
        return given_up

    def removed(self, topic_id: TopicId, nodes: frozenset[NodeId]) -> None:
        left = self.rows.get(topic_id, frozenset()) - nodes
        if left:
            self.rows[topic_id] = left
        else:
            self.rows.pop(topic_id, None)


def named(number: int) -> TopicId:
    """Return ids whose order is not that of their numbers, some of them in one shard."""
    return TopicId(bytes([255 - number] * 15 + [number % 3]))


@given(steps=st.lists(steps_of_all_kinds, max_size=60))
def test_equals_a_plain_list(steps: list[Step]) -> None:
    found, plain, made = DeletedTopics(), Plain(), 0
    with pytest.MonkeyPatch.context() as patch:
        few = replace(REMOVALS_AWAITED_MAX, value=FEW)
        patch.setattr("cluster.controller.deleted_topics.REMOVALS_AWAITED_MAX", few)
        for what, nodes, number in steps:
            before, frozen = found, list(found.items())
            if what == "deleted":
                found, given_up = found.deleted(named(made), nodes)
                assert list(given_up) == plain.deleted(named(made), nodes)
                made += 1
            elif what == "removed":
                found = found.removed(named(number), nodes)
                plain.removed(named(number), nodes)
            else:
                node = min(nodes)
                found = found.without(node)
                for topic_id in list(plain.rows):
                    plain.removed(topic_id, frozenset({node}))
            assert list(before.items()) == frozen
            check(found, plain.rows)


def check(found: DeletedTopics, rows: dict[TopicId, frozenset[NodeId]]) -> None:
    assert list(found.items()) == list(rows.items())
    assert (len(found), bool(found)) == (len(rows), bool(rows))
    for node in NODES:
        waiting = [one for one, nodes in rows.items() if node in nodes]
        assert list(found.of(node)) == waiting
        assert len(found.of(node)) == len(waiting) <= FEW
