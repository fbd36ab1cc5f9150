"""What consumer groups can be told: a group's own settings, else the node's."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from api.broker.context import BrokerContext
from cluster.controller.configs import VALUE_CHARACTERS_MAX, text_of, unknown_name
from cluster.controller.describe_config import ConfigValue, Source
from cluster.controller.group_config import NOTHING_SET, AlterGroupConfig, etag_of
from consumer_groups.settings import GroupSettings
from model.errors import ErrorCode, RequestError
from model.ids import GroupId
from model.principal import Principal
from model.quantity import parse_quantity
from model.settings import Declaration, Unit, Value, declarations, parse

FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "assignor": "assignor",
        "offsets.retention.ms": "offsets_retention_ms",
        "rebalance.timeout.ms": "rebalance_timeout_ms",
        "resume.timeout.ms": "resume_timeout_ms",
        "session.timeout.ms": "session_timeout_ms",
    }
)
"""Settings that a group may have of its own, to the field that declares them."""

_DECLARED: Final[Mapping[str, Declaration]] = {
    declaration.name: declaration for declaration in declarations(GroupSettings)
}
_TYPE_WORDS: Final = {Unit.MILLISECONDS: "duration", None: "string"}


class GroupConfig(NamedTuple):
    """Settings of a group, and what stands for this version of them."""

    entries: Sequence[ConfigValue]
    etag: str


class GroupConfigs:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext, node: GroupSettings) -> None:
        """`node`: what holds for groups that say nothing else."""
        self._node = context
        self._settings = node

    def get(self, principal: Principal, group: GroupId, names: Sequence[str]) -> GroupConfig:
        """Return the named settings of a group, or all, by name; the group need not exist.

        Raises:
            RequestError: INVALID_CONFIG, a name that is no setting.
        """
        del principal
        return self._described(self._own(group), names)

    async def update(self, principal: Principal, change: AlterGroupConfig) -> GroupConfig:
        """Set some, unset others, all or nothing; return those that were named, as they are now.

        Members keep the timeouts that they joined with; the assignor is taken at the next join.

        Raises:
            RequestError: ETAG_MISMATCH, INVALID_CONFIG, LIMIT_EXCEEDED.
        """
        del principal
        for name, text in change.set.items():
            read_value(name, text)
        for name in change.unset:
            _field(name)
        before = self._own(change.group)
        config = await self._node.quorum.propose(change)
        found = self._described(config, sorted({*change.set, *change.unset}))
        return found._replace(etag=etag_of(before)) if change.validate_only else found

    def of(self, group: GroupId) -> GroupSettings:
        """Return what holds for a group."""
        return self._merged(self._own(group))

    def retention_of(self) -> Callable[[GroupId], int]:
        """Return how to tell a group's retention of offsets, in ms: of thousands in a row."""
        own, default = self._node.quorum.image.group_configs, self._settings.offsets_retention_ms
        name = "offsets.retention.ms"
        said = {group: int(config[name]) for group, config in own.items() if name in config}
        return lambda group: said.get(group, default)

    def _own(self, group: GroupId) -> Mapping[str, str]:
        return self._node.quorum.image.group_configs.get(group, NOTHING_SET)

    def _merged(self, own: Mapping[str, str]) -> GroupSettings:
        values = {FIELDS[name]: read_value(name, text) for name, text in own.items()}
        return replace(self._settings, **values)  # type: ignore[arg-type]  # read as declared

    def _described(self, own: Mapping[str, str], names: Sequence[str]) -> GroupConfig:
        for name in names:
            _field(name)
        merged = self._merged(own)
        entries = [
            self._entry(name, own=own, merged=merged) for name in sorted(set(names) or FIELDS)
        ]
        return GroupConfig(entries, etag_of(own))

    def _entry(self, name: str, *, own: Mapping[str, str], merged: GroupSettings) -> ConfigValue:
        field = FIELDS[name]
        inherited = getattr(self._settings, field)
        static = inherited != getattr(GroupSettings(), field)
        source = Source.STATIC if static else Source.DEFAULT
        setting = _DECLARED[field].setting
        return ConfigValue(
            name,
            text_of(getattr(merged, field)),
            Source.RESOURCE if name in own else source,
            text_of(inherited),
            setting.doc,
            _TYPE_WORDS[setting.unit],
            read_only=False,
        )


def read_value(name: str, text: str) -> Value:
    """Read one value of a group's setting; numbers are plain, in the unit that ends the name.

    Raises:
        RequestError: INVALID_CONFIG naming setting, value and what is accepted.
    """
    declaration = _DECLARED[_field(name)]
    unit = declaration.setting.unit
    meant: int | None = None
    if len(text) <= VALUE_CHARACTERS_MAX:
        if unit is None or parse_quantity(text, "") is not None:
            with suppress(ValueError):
                return parse(declaration, text)
        else:
            meant = parse_quantity(text, str(unit))
    shown = text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:40]}..."
    why = f"must be {declaration.range()}" + ("" if meant is None else f"; write {meant}")
    detail = f"{name}={shown!r} {why}"
    raise RequestError(ErrorCode.INVALID_CONFIG, detail, name=name, value=shown, why=why)


def _field(name: str) -> str:
    """Return the field that declares a setting.

    Raises:
        RequestError: INVALID_CONFIG, with the likeliest name that was meant.
    """
    if name not in FIELDS:
        raise unknown_name(name, FIELDS)
    return FIELDS[name]
