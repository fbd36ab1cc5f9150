"""Settings of groups in the metadata: all or nothing, guarded by an etag, kept in snapshots."""

from collections.abc import Mapping
from random import Random

import pytest

from cluster.controller.codec import decode, encode
from cluster.controller.group_config import AlterGroupConfig, etag_of
from cluster.controller.image import MetadataImage
from cluster.controller.machine import ControllerMachine
from cluster.controller.records import MetadataRecord
from cluster.controller.request import Circumstances
from cluster.controller.snapshot import snapshot
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, Index, WallMs
from model.limits import GROUPS_MAX

BILLING, AUDIT = GroupId("billing"), GroupId("audit")


class Metadata:
    """A machine whose records pass through their bytes."""

    def __init__(self) -> None:
        self.machine = ControllerMachine({})
        self.chance = Random(1)
        self.log: list[MetadataRecord] = []

    def alter(self, request: AlterGroupConfig) -> Mapping[str, str]:
        circumstances = Circumstances(now=WallMs(0), rand=self.chance)
        result = self.machine.handle(request, circumstances)
        for record in decode(encode(result.records)):
            self.machine.replay(record)
            self.log.append(record)
        return result.response

    def refused(self, request: AlterGroupConfig) -> ErrorCode:
        with pytest.raises(RequestError) as refused:
            self.alter(request)
        return refused.value.code

    def image(self) -> MetadataImage:
        image, _ = self.machine.freeze(Index(len(self.log)))
        return image


def test_what_is_named_changes_and_the_rest_stays() -> None:
    metadata = Metadata()
    metadata.alter(AlterGroupConfig(group=BILLING, set={"a": "1", "b": "2"}))
    metadata.alter(AlterGroupConfig(group=AUDIT, set={"a": "9"}))
    assert metadata.alter(AlterGroupConfig(group=BILLING, set={"c": "3"}, unset=("a",))) == {
        "b": "2",
        "c": "3",
    }
    assert metadata.image().group_configs == {BILLING: {"b": "2", "c": "3"}, AUDIT: {"a": "9"}}
    metadata.alter(AlterGroupConfig(group=BILLING, unset=("b", "c", "never set")))
    assert metadata.image().group_configs == {AUDIT: {"a": "9"}}


def test_what_changes_nothing_writes_nothing() -> None:
    metadata = Metadata()
    metadata.alter(AlterGroupConfig(group=BILLING, set={"a": "1"}))
    metadata.alter(AlterGroupConfig(group=BILLING, set={"a": "1"}, unset=("b",)))
    dry = AlterGroupConfig(group=BILLING, set={"a": "2"}, validate_only=True)
    assert metadata.alter(dry) == {"a": "2"}
    assert len(metadata.log) == 1


def test_an_etag_guards_what_was_read() -> None:
    metadata = Metadata()
    metadata.alter(AlterGroupConfig(group=BILLING, set={"a": "1"}, etag=etag_of({})))
    stale = AlterGroupConfig(group=BILLING, set={"a": "2"}, etag=etag_of({}))
    assert metadata.refused(stale) is ErrorCode.ETAG_MISMATCH
    assert etag_of({"a": "1", "b": "2"}) == etag_of({"b": "2", "a": "1"}) != etag_of({"a": "1"})


def test_a_setting_is_not_set_and_unset_at_once() -> None:
    both = AlterGroupConfig(group=BILLING, set={"a": "1"}, unset=("a",))
    assert Metadata().refused(both) is ErrorCode.INVALID_CONFIG


def test_so_many_groups_have_settings_and_no_more() -> None:
    metadata = Metadata()
    for number in range(GROUPS_MAX.value):
        metadata.alter(AlterGroupConfig(group=GroupId(f"g{number}"), set={"a": "1"}))
    more = AlterGroupConfig(group=BILLING, set={"a": "1"})
    assert metadata.refused(more) is ErrorCode.LIMIT_EXCEEDED
    metadata.alter(AlterGroupConfig(group=GroupId("g0"), set={"a": "2"}))
    metadata.alter(AlterGroupConfig(group=GroupId("g0"), unset=("a",)))
    metadata.alter(more)


def test_a_snapshot_has_them() -> None:
    metadata = Metadata()
    metadata.alter(AlterGroupConfig(group=BILLING, set={"a": "1"}))
    metadata.alter(AlterGroupConfig(group=AUDIT, set={"a": "1"}))
    metadata.alter(AlterGroupConfig(group=AUDIT, unset=("a",)))
    restored = ControllerMachine({})
    for record in decode(encode(snapshot(metadata.image()))):
        restored.replay(record)
    image, _ = restored.freeze(Index(len(metadata.log)))
    assert image == metadata.image()
    assert image.group_configs == {BILLING: {"a": "1"}}
