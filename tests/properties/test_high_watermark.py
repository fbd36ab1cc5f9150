"""The high watermark equals its definition, tried offset by offset."""

from typing import NamedTuple

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from cluster.replication.events import Appended, Committed, Persisted
from cluster.replication.high_watermark import CommitRule, Ends, Isr, high_watermark
from logstore.settings import Flush
from model.ids import MonotonicMs, NodeId, Offset
from tests.planted import HIGH_WATERMARK, Mark
from tests.replica import assignment, leading, log

NODES = [NodeId(n) for n in range(1, 5)]
LEADER = NODES[0]
OFFSETS = 4
"""Few nodes and few offsets, so that most cases are tight: one replica decides."""


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

    return Offset(max([held, *filter(committed, range(OFFSETS + 1))]))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    members = st.frozensets(st.sampled_from(NODES)).map(lambda nodes: nodes | {LEADER})
    written = st.integers(0, OFFSETS)
    ends = {}
    for node in NODES:
        flushed, least = sorted((draw(written), draw(written)))
        ends[node] = Ends(Offset(OFFSETS), Offset(least), Offset(flushed))
    rule = CommitRule(
        flush=draw(st.sampled_from(Flush)),
        min_insync_replicas=draw(st.integers(1, 3)),
        replica_lag_ms_max=0,
    )
    held = Offset(draw(st.sampled_from([0, 0, 0, 1, 2])))
    return Case(held, ends, Isr(draw(members), draw(members)), rule)


@settings(max_examples=max(600, settings().max_examples))
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

    find(cases(), differs, settings=settings(phases=[Phase.generate], max_examples=2_000))


def ends(*offsets: int) -> Ends:
    return Ends(*(Offset(offset) for offset in offsets))


rounds = st.lists(
    st.tuples(*[st.integers(0, 3)] * 3).map(lambda steps: sorted(steps, reverse=True)), max_size=8
)


@given(rounds, st.sampled_from(Flush), st.integers(1, 2))
def test_a_leader_without_followers_commits_by_the_same_rule(
    steps: list[list[int]], flush: Flush, least: int
) -> None:
    rule = CommitRule(flush=flush, min_insync_replicas=least, replica_lag_ms_max=0)
    alone = frozenset([LEADER])
    own, mark, now = ends(0, 0, 0), Offset(0), MonotonicMs(0)
    leader = leading(log(own), assignment(replicas=alone, isr=alone), rule=rule)
    for added, written, flushed in steps:
        own = ends(
            own.log + added, max(own.written, own.log - 2 + written), max(own.flushed, own.log - 3)
        )
        own = own._replace(
            written=Offset(min(own.written, own.log)),
            flushed=Offset(min(own.flushed + flushed, own.written, own.log)),
        )
        said = [
            *leader.step(now, Appended(own.log)),
            *leader.step(now, Persisted(own.written, own.flushed, own.flushed)),
        ]
        wanted = high_watermark(mark, {LEADER: own}, isr=Isr(alone, alone), rule=rule)
        assert said == ([Committed(wanted)] if wanted > mark else [])
        mark = wanted
        assert leader.high_watermark == mark
