"""The high watermark equals its definition, tried offset by offset."""

from typing import NamedTuple

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from cluster.replication.high_watermark import CommitRule, Ends, Isr, high_watermark
from logstore.settings import Flush
from model.ids import NodeId, Offset
from tests.planted import HIGH_WATERMARK, Mark

NODES = [NodeId(n) for n in range(1, 6)]
LEADER = NODES[0]


class Case(NamedTuple):
    held: Offset
    ends: dict[NodeId, Ends]
    isr: Isr
    rule: CommitRule


def by_definition(case: Case) -> Offset:
    """Return the greatest offset below which everything is committed."""
    held, ends, isr, rule = case
    flushers = isr.minimal if rule.flush is Flush.QUORUM else frozenset[NodeId]()

    def committed(offset: int) -> bool:
        written = all(ends[node].written >= offset for node in isr.maximal)
        flushed = sum(ends[node].flushed >= offset for node in flushers)
        enough = flushed if flushers else len(isr.minimal)
        return written and enough >= rule.min_insync_replicas

    return Offset(max([held, *filter(committed, range(10))]))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    members = st.frozensets(st.sampled_from(NODES)).map(lambda nodes: nodes | {LEADER})
    three = st.lists(st.integers(0, 9).map(Offset), min_size=3, max_size=3)
    ends = {node: Ends(*sorted(draw(three), reverse=True)) for node in NODES}
    rule = CommitRule(
        flush=draw(st.sampled_from(Flush)),
        min_insync_replicas=draw(st.integers(1, 3)),
        replica_lag_ms_max=0,
    )
    return Case(Offset(draw(st.integers(0, 9))), ends, Isr(draw(members), draw(members)), rule)


@given(cases())
def test_equals_its_definition(case: Case) -> None:
    held, ends, isr, rule = case
    assert high_watermark(held, ends, isr=isr, rule=rule) == by_definition(case)


@pytest.mark.parametrize("planted", HIGH_WATERMARK.values(), ids=HIGH_WATERMARK)
def test_planted_fault_is_caught(planted: Mark) -> None:
    def differs(case: Case) -> bool:
        held, ends, isr, rule = case
        try:
            return planted(held, ends, isr=isr, rule=rule) != by_definition(case)
        except AssertionError:
            return True

    find(cases(), differs)
