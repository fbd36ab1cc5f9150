"""What a scrape tells of consumer groups: how many, whose members, how far behind."""

import asyncio
import gc
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.broker import group_figures
from api.broker.consume_events import Opening
from api.broker.group_commits import NamedCursor
from consumer_groups.requests import FromOutside
from model.ids import GroupId, Offset, TopicName
from model.principal import ANONYMOUS
from tests.one_node import OneNode, one_node

Samples = dict[tuple[str, ...], float]


async def scraped(one: OneNode, query: str = "") -> Samples:
    """Return the samples of groups: name and label values to value."""
    async with httpx.AsyncClient(base_url=one.url) as http:
        text = (await http.get(f"/metrics{query}")).text
    return {
        (sample.name.removeprefix("tidelog_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("tidelog_group")
    }


async def commit(one: OneNode, group: str, *, topic: str = "orders", offset: int = 0) -> None:
    cursor = NamedCursor(topic, 0, Offset(offset))
    rows = await one.node.broker.group_commits(GroupId(group), FromOutside("test"), [cursor])
    assert rows == [None]


async def test_groups_their_members_and_their_lag_are_told(tmp_path: Path) -> None:
    async with one_node(tmp_path / "d") as one:
        none = {("groups", state): 0.0 for state in ("empty", "reconciling", "stable")}
        counted: Samples = {("group_commits_total",): 0, ("group_rebalances_total",): 0}
        assert await scraped(one) == none | counted
        await one.create("orders", 2)
        await one.create("clicks")
        await one.produce("orders", 0, [b"a", b"b", b"c"])
        await one.produce("orders", 1, [b"d", b"e"])
        await commit(one, "billing", offset=1)
        await commit(one, "billing", topic="clicks")
        opening = Opening(group=GroupId("search"), topics=(TopicName("orders"),))
        session = await one.node.broker.consume(ANONYMOUS, opening)
        assert await scraped(one) == none | {
            ("groups", "empty"): 1,
            ("groups", "stable"): 1,
            ("group_commits_total",): 2,
            ("group_rebalances_total",): 1,
            ("group_members", "billing"): 0,
            ("group_members", "search"): 1,
            ("group_lag_records", "billing", "orders"): 2,
            ("group_lag_records", "billing", "clicks"): 0,
            ("group_lag_records", "search", "orders"): 5,
        }
        session.close()


def test_counters_begin_anew_with_the_node_and_gauges_tell_what_is_there(tmp_path: Path) -> None:
    async def life(*, first: bool) -> Samples:
        async with one_node(tmp_path / "d") as one:
            if first:
                await one.create("orders")
                await one.produce("orders", 0, [b"a", b"b"])
                await commit(one, "billing", offset=1)
            return await scraped(one)

    before = asyncio.run(life(first=True))
    gc.collect()  # the lock of a directory goes with its node
    after = asyncio.run(life(first=False))
    assert (before["group_commits_total",], after["group_commits_total",]) == (1, 0)
    lag = "group_lag_records", "billing", "orders"
    assert (before[lag], after[lag]) == (1, 1)


async def test_very_many_groups_are_told_by_themselves_on_demand_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_figures, "GROUPS_SHOWN_MAX", 2)
    async with one_node(tmp_path / "d") as one:
        await one.create("orders")
        for group in ("a", "b"):
            await commit(one, group)
        assert ("group_members", "a") in await scraped(one)
        await commit(one, "c")
        few = await scraped(one)
        assert few["groups", "empty"] == 3
        assert not [name for name, *labels in few if name.startswith("group_") and labels]
        assert ("group_members", "c") in await scraped(one, "?detail=group&detail=partition")
        monkeypatch.setattr(group_figures, "ROWS_SHOWN_MAX", 2)
        some = await scraped(one, "?detail=group")
        assert [labels for name, *labels in some if name == "group_members"] == [["a"], ["b"]]
