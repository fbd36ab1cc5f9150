"""Settings of topics: read, set, taken back; all or none."""

import pytest

import tidelog
from tests.contract.place import Place


async def test_defaults_are_told_with_their_meaning(place: Place) -> None:
    config = await place.client.topics.config(await place.topic())
    week = config["retention.ms"]
    assert (week.value, week.source, week.default) == ("604800000", "default", "604800000")
    assert "Delete segments" in week.documentation
    assert {"cleanup.policy", "max.message.bytes", "segment.ms", "tidelog.flush"} <= config.keys()


async def test_what_is_set_is_told_and_can_be_taken_back(place: Place) -> None:
    topic = await place.topic()
    changed = await place.client.topics.configure(topic, set={"retention.ms": "5000"})
    assert [(name, one.value, one.source) for name, one in changed.items()] == [
        ("retention.ms", "5000", "resource")
    ]
    assert (await place.client.topics.get(topic)).config == {"retention.ms": "5000"}
    back = await place.client.topics.configure(topic, unset=["retention.ms"])
    assert (back["retention.ms"].value, back["retention.ms"].source) == ("604800000", "default")
    assert (await place.client.topics.get(topic)).config == {}


async def test_all_are_set_or_none(place: Place) -> None:
    topic = await place.topic()
    wanted = {"retention.ms": "5000", "segment.bytes": "1"}
    with pytest.raises(tidelog.InvalidRequest, match=r"segment\.bytes"):
        await place.client.topics.configure(topic, set=wanted)
    assert (await place.client.topics.get(topic)).config == {}


async def test_a_dry_run_sets_nothing(place: Place) -> None:
    topic = await place.topic()
    planned = await place.client.topics.configure(topic, set={"segment.ms": "7"}, dry_run=True)
    assert planned["segment.ms"].value == "7"
    assert (await place.client.topics.config(topic))["segment.ms"].source == "default"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retention.sm", "1"),
        ("retention.ms", "-2"),
        ("retention.ms", "a week"),
        ("segment.bytes", "1023"),
        ("max.message.bytes", "3145729"),
        ("cleanup.policy", "burn"),
        ("message.timestamp.type", "createtime"),
        ("tidelog.flush", ""),
    ],
)
async def test_values_that_are_refused(place: Place, name: str, value: str) -> None:
    topic = await place.topic()
    with pytest.raises(tidelog.InvalidRequest) as refused:
        await place.client.topics.configure(topic, set={name: value})
    assert (refused.value.reason, refused.value.outcome) == ("INVALID_CONFIG", "not_done")
    with pytest.raises(tidelog.InvalidRequest) as refused:
        await place.client.topics.create(f"{topic}-x", config={name: value})
    assert refused.value.reason == "INVALID_CONFIG"


async def test_the_kind_cannot_be_changed(place: Place) -> None:
    topic = await place.topic()
    with pytest.raises(tidelog.InvalidRequest):
        await place.client.topics.configure(topic, set={"tidelog.kind": "table"})
    assert (await place.client.topics.get(topic)).kind == "log"


async def test_settings_of_a_topic_that_is_not_there(place: Place) -> None:
    with pytest.raises(tidelog.NotFound):
        await place.client.topics.config(f"{place.prefix}-none")
    with pytest.raises(tidelog.NotFound):
        await place.client.topics.configure(f"{place.prefix}-none", set={"segment.ms": "7"})
