"""Groups from outside: commit, look, list, delete, and settings of their own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumer_groups.settings import GroupSettings
from tests.group_client import (
    Member,
    Seek,
    commit,
    cursor,
    described,
    filled,
    joined,
    offsets,
    place,
)
from tests.grpc_node import SETTINGS, GrpcNode, grpc_node, refusal
from tidelog.v1 import (
    common_pb2,
    config_service_pb2,
    group_service_pb2,
)

Ask: Any = group_service_pb2.SeekOffsetsRequest
Group = group_service_pb2.ConsumerGroup
START, END = Seek(edge=common_pb2.EDGE_EARLIEST), Seek(edge=common_pb2.EDGE_LATEST)
Change = tuple[int | None, int | None, int, int, bool]


async def test_from_outside_only_while_nobody_is_there(served: GrpcNode) -> None:
    await filled(served)
    member = await joined(served, "billing", "orders")
    request = group_service_pb2.CommitOffsetsRequest(
        group="billing", cursors=[cursor("orders", 0, 1)]
    )
    assert (await refusal(served.groups.CommitOffsets(request))).reason == "GROUP_NOT_EMPTY"
    assert member.membership is not None
    wrong = common_pb2.Membership(member_id=member.membership.member_id, member_epoch=99)
    request.member.CopyFrom(wrong)
    assert (await refusal(served.groups.CommitOffsets(request))).reason == "STALE_MEMBER_EPOCH"
    request.cursors.clear()
    assert (await refusal(served.groups.CommitOffsets(request))).reason == "INVALID_REQUEST"
    rows = await commit(served, "other", cursor("nothing", 0, 0), cursor("orders", 0, 9))
    assert [row.error.reason for row in rows] == ["UNKNOWN_TOPIC", "OFFSET_OUT_OF_RANGE"]
    lag = group_service_pb2.ListGroupOffsetsRequest(group="other")
    assert (await refusal(served.groups.ListGroupOffsets(lag))).reason == "UNKNOWN_GROUP"


async def test_the_lag_table_by_topic(served: GrpcNode) -> None:
    await filled(served)
    await served.create("payments")
    await commit(served, "billing", cursor("payments", 0, 0), cursor("orders", 1, 2))
    request: Any = group_service_pb2.ListGroupOffsetsRequest
    answer = await served.groups.ListGroupOffsets(request(group="billing", topics=["orders"]))
    (row,) = answer.offsets
    assert (row.partition, row.lag, row.member_id) == (place("orders", 1), 4, "")
    unknown = served.groups.ListGroupOffsets(request(group="billing", topics=["nothing"]))
    assert (await refusal(unknown)).reason == "UNKNOWN_TOPIC"
    member = await joined(served, "billing", "orders")
    rows = await offsets(served, "billing")
    assert list(rows) == [("orders", 0), ("orders", 1), ("payments", 0)]
    assert not rows["orders", 0].HasField("committed")
    assert rows["orders", 0].lag == 6
    assert member.membership is not None
    assert rows["orders", 0].member_id == member.membership.member_id


async def test_groups_are_listed_described_and_deleted(served: GrpcNode) -> None:
    await filled(served)
    names = [f"group-{number:02}" for number in range(12)]
    for name in names:
        await commit(served, name, cursor("orders", 0, 1))
    request: Any = group_service_pb2.ListConsumerGroupsRequest
    page, found = "", []
    while True:
        answer = await served.groups.ListConsumerGroups(
            request(page_size=5, page_token=page, name_prefix="group-")
        )
        assert len(answer.groups) <= 5
        found += [group.name for group in answer.groups]
        page = answer.next_page_token
        if not page:
            break
    assert found == names
    assert not (await served.groups.ListConsumerGroups(request(name_prefix="x"))).groups
    bad = served.groups.ListConsumerGroups(request(page_size=1_001))
    assert (await refusal(bad)).reason == "INVALID_REQUEST"

    member = await joined(served, "group-00", "orders", metadata=(("tidelog-client-id", "me"),))
    await member.holding(0, 1)
    group = await described(served, "group-00")
    assert (group.kind, group.state, group.assignor) == (
        Group.KIND_NATIVE,
        Group.STATE_STABLE,
        "uniform",
    )
    assert group.coordinator_id == served.node.node_id
    (one,) = group.members
    assert one.membership == member.membership
    assert (one.client_id, one.host) == ("me", "127.0.0.1")
    assert list(one.assignment) == [place("orders", 0), place("orders", 1)]

    delete: Any = group_service_pb2.DeleteConsumerGroupRequest
    busy = served.groups.DeleteConsumerGroup(delete(name="group-00"))
    assert (await refusal(busy)).reason == "GROUP_NOT_EMPTY"
    await served.groups.DeleteConsumerGroup(delete(name="group-01", validate_only=True))
    assert (await described(served, "group-01")).kind == Group.KIND_UNSPECIFIED
    await served.groups.DeleteConsumerGroup(delete(name="group-01"))
    gone = served.groups.DeleteConsumerGroup(delete(name="group-01"))
    assert (await refusal(gone)).reason == "UNKNOWN_GROUP"
    await member.leave()
    await served.groups.DeleteConsumerGroup(delete(name="group-00"))


async def test_offsets_are_forgotten_where_nobody_consumes(served: GrpcNode) -> None:
    await filled(served)
    await served.create("payments")
    await commit(served, "billing", cursor("orders", 0, 1), cursor("payments", 0, 0))
    member = await joined(served, "billing", "payments")
    request: Any = group_service_pb2.DeleteOffsetsRequest
    named = [place("orders", 0), place("payments", 0), place("nothing", 0), place("orders", 1)]
    for dry in (True, False):
        answer = await served.groups.DeleteOffsets(
            request(group="billing", partitions=named, validate_only=dry)
        )
        assert [row.error.reason for row in answer.results] == [
            "",
            "GROUP_NOT_EMPTY",
            "UNKNOWN_TOPIC",
            "",
        ]
        assert (("orders", 0) in await offsets(served, "billing")) == dry
    await member.leave()
    nobody = served.groups.DeleteOffsets(request(group="nobody", partitions=named))
    assert (await refusal(nobody)).reason == "UNKNOWN_GROUP"


def resource(name: str) -> config_service_pb2.ConfigResource:
    return config_service_pb2.ConfigResource(
        type=config_service_pb2.ConfigResource.TYPE_GROUP, name=name
    )


async def configure(served: GrpcNode, name: str, **fields: Any) -> Any:
    request: Any = config_service_pb2.UpdateConfigRequest
    return await served.configs.UpdateConfig(request(resource=resource(name), **fields))


async def test_a_group_has_settings_of_its_own(served: GrpcNode) -> None:
    await served.create("orders", 4)
    answer = await configure(
        served, "billing", set={"session.timeout.ms": "9000", "assignor": "range"}
    )
    values = {one.name: (one.value, one.source, one.default_value) for one in answer.entries}
    own = config_service_pb2.ConfigEntry.SOURCE_RESOURCE
    assert values == {
        "assignor": ("range", own, "uniform"),
        "session.timeout.ms": ("9000", own, "8000"),
    }
    read: Any = config_service_pb2.GetConfigRequest
    found = await served.configs.GetConfig(read(resource=resource("billing")))
    assert [one.name for one in found.entries] == [
        "assignor",
        "offsets.retention.ms",
        "rebalance.timeout.ms",
        "resume.timeout.ms",
        "session.timeout.ms",
    ]
    assert found.etag == answer.etag
    member = await joined(served, "billing", "orders")
    assert member.told[0].joined.session_timeout.seconds == 9
    assert (await described(served, "billing")).assignor == "range"

    stale = configure(served, "billing", unset=["assignor"], etag="older")
    assert (await refusal(stale)).reason == "ETAG_MISMATCH"
    dry = await configure(served, "billing", unset=["assignor"], validate_only=True)
    assert (dry.entries[0].value, dry.etag) == ("uniform", found.etag)
    await configure(served, "billing", unset=["assignor", "session.timeout.ms"], etag=found.etag)
    assert not served.node.broker.image.group_configs
    second = await joined(served, "billing", "orders")
    assert second.told[0].joined.session_timeout.seconds == 8
    assert (await described(served, "billing")).assignor == "uniform"


@pytest.mark.parametrize(
    ("setting", "value", "text"),
    [
        ("session.timeout.ms", "999", "1000..3600000 ms"),
        ("session.timeout.ms", "9s", "write 9000"),
        ("session.timeout.ms", "soon", "1000..3600000 ms"),
        ("assignor", "fair", "uniform, range"),
        ("session.timeout", "9000", 'did you mean "session.timeout.ms"'),
        ("retention.ms", "9" * 2_000, "there is no setting"),
        ("resume.timeout.ms", "9" * 2_000, "0..300000 ms"),
    ],
)
async def test_what_is_no_setting_of_a_group(
    served: GrpcNode, *, setting: str, value: str, text: str
) -> None:
    refused = await refusal(configure(served, "billing", set={setting: value}))
    assert refused.reason == "INVALID_CONFIG"
    assert text in refused.text
    assert not served.node.broker.image.group_configs


async def test_history_is_of_a_later_step(served: GrpcNode) -> None:
    request = group_service_pb2.ListOffsetHistoryRequest(group="billing")
    assert (await refusal(served.groups.ListOffsetHistory(request))).reason == "NOT_IMPLEMENTED"


async def test_a_group_takes_so_many_members_and_no_more(tmp_path: Path) -> None:
    settings = replace(SETTINGS, groups=GroupSettings(members_max=2))
    async with grpc_node(tmp_path, settings) as served:
        await filled(served)
        first = await joined(served, "billing", "orders", instance_id="one")
        await joined(served, "billing", "orders")
        third = Member(served, "billing", "orders")
        await third.say(join=third.join)
        assert (await third.refused()).reason == "LIMIT_EXCEEDED"
        await joined(served, "billing", "orders", instance_id="one")  # in the place of the first
        assert (await first.refused()).reason == "FENCED_INSTANCE"
