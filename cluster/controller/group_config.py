"""What is set for consumer groups by name: kept with the metadata, understood by whoever asks.

The controller knows no group's settings: whoever proposes a change has checked names and values. A
group's settings stand by themselves: before its first member, and after it was deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from cluster.controller.fields import string_map
from cluster.controller.records import GroupConfigured, MetadataRecord
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.ids import GroupId
from model.limits import GROUPS_MAX
from model.result import Result

NOTHING_SET: Final[Mapping[str, str]] = MappingProxyType({})
ETAG_CHARACTERS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterGroupConfig(Request[Mapping[str, str]]):
    """Set and unset settings of a group; those not named stay. Answered with all that are set."""

    group: GroupId
    set: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    """Back to the default; one that was not set stays so."""
    etag: str | None = None
    """None: whatever is there; else only if the settings are those that were read."""
    validate_only: bool = False


def alter_group_config(
    state: MetadataState, request: AlterGroupConfig, _: Circumstances
) -> Result[MetadataRecord, Mapping[str, str]]:
    """Decide; a change that changes nothing writes nothing.

    Raises:
        RequestError: ETAG_MISMATCH, INVALID_CONFIG (set and unset at once), LIMIT_EXCEEDED.
    """
    present = state.group_configs.get(request.group, NOTHING_SET)
    if request.etag not in {None, etag_of(present)}:
        raise RequestError(
            ErrorCode.ETAG_MISMATCH,
            f'the settings of group "{request.group}" have changed: read them again',
            group=request.group,
            etag=etag_of(present),
        )
    for name in request.unset:
        if name in request.set:
            detail = f"{name} is to be set and unset at once"
            raise RequestError(ErrorCode.INVALID_CONFIG, detail, name=name)
    kept = {name: value for name, value in present.items() if name not in request.unset}
    config = MappingProxyType(kept | dict(request.set))
    if config == present or request.validate_only:
        return Result((), config)
    if not present and len(state.group_configs) >= GROUPS_MAX.value:
        raise RequestError(
            ErrorCode.LIMIT_EXCEEDED,
            f"{len(state.group_configs)} groups have settings of their own, at most "
            f"{GROUPS_MAX.value}",
            limit=str(GROUPS_MAX.value),
        )
    return Result((GroupConfigured(group=request.group, config=config),), config)


def replay_group_configured(state: MetadataState, configured: GroupConfigured) -> None:
    """Replace what is set for the group."""
    state.configure_group(configured.group, configured.config)


def etag_of(config: Mapping[str, str]) -> str:
    """Return what stands for these very settings: equal ones have an equal one."""
    return sha256(string_map(config)).hexdigest()[:ETAG_CHARACTERS]
