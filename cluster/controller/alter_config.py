"""Changing a topic's settings by name: some set, some back to their default, all or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from cluster.controller.configs import ALIASES, TopicKind, check_name
from cluster.controller.image import TopicImage
from cluster.controller.records import MetadataRecord, TopicConfigured
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from cluster.controller.topics import KIND, check_not_internal
from model.errors import ErrorCode, RequestError
from model.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterTopicConfig(Request[TopicImage]):
    """Set and unset settings of a topic; those not named stay. Answered with the topic."""

    name: str
    set: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    """Back to the default; one that was not set stays so."""
    etag: str | None = None
    """None: whatever is there; else only if the config is the version that was read."""
    validate_only: bool = False


def alter_topic_config(
    state: MetadataState, request: AlterTopicConfig, _: Circumstances
) -> Result[MetadataRecord, TopicImage]:
    """Decide; a change that changes nothing writes nothing.

    Raises:
        RequestError: UNKNOWN_TOPIC, POLICY_VIOLATION (one of Tidelog's own), ETAG_MISMATCH,
            INVALID_CONFIG, NOT_IMPLEMENTED.
    """
    topic = state.topic(request.name)
    check_not_internal(topic, "its settings stay as they are")
    if request.etag not in {None, topic.etag}:
        raise RequestError(
            ErrorCode.ETAG_MISMATCH,
            f'the settings of topic "{topic.name}" have changed: read them again',
            topic=topic.name,
            etag=topic.etag,
        )
    config = _merged(topic.config, request)
    if config.get(KIND, TopicKind.LOG.value) != topic.kind.value:
        detail = f"{KIND} of a topic cannot be changed; create another topic"
        raise RequestError(ErrorCode.INVALID_CONFIG, detail, name=KIND)
    if KIND not in topic.config:  # said again, it needs no place there either
        config.pop(KIND, None)
    altered = replace(
        topic,
        config=MappingProxyType(config),
        config_version=topic.config_version + 1,
        settings=state.settings_of(config, topic.replication_factor),
    )
    if config == topic.config:
        return Result((), topic)
    if request.validate_only:
        return Result((), altered)
    record = TopicConfigured(
        topic_id=topic.topic_id,
        config_version=altered.config_version,
        config=altered.config,
    )
    return Result((record,), altered)


def replay_configured(state: MetadataState, configured: TopicConfigured) -> None:
    """Replace the config."""
    state.configure(configured.topic_id, configured.config_version, configured.config)


def _merged(present: Mapping[str, str], request: AlterTopicConfig) -> dict[str, str]:
    """Return the config as it is to be; of two names of one setting the newer stays."""
    for name in request.unset:
        check_name(name)
        if name in request.set:
            detail = f"{name} is to be set and unset at once"
            raise RequestError(ErrorCode.INVALID_CONFIG, detail, name=name)
    named = (*request.unset, *request.set)
    kept = {
        key: value for key, value in present.items() if not any(_same(key, name) for name in named)
    }
    return kept | dict(request.set)


def _same(one: str, other: str) -> bool:
    """Tell whether two names are of one setting."""
    return ALIASES.get(one, one) == ALIASES.get(other, other)
