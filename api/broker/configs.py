"""Show and change a topic's settings."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from api.broker.context import BrokerContext
from api.broker.topics import Topics
from cluster.controller.alter_config import AlterTopicConfig
from cluster.controller.configs import ALIASES, check_name
from cluster.controller.describe_config import ConfigValue, describe
from cluster.controller.image import TopicImage
from model.principal import Principal


class TopicConfig(NamedTuple):
    """Settings of a topic, and the version that they are of."""

    entries: Sequence[ConfigValue]
    etag: str


class Configs:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext, topics: Topics, defaults: Mapping[str, str]) -> None:
        """`defaults`: what this node's configuration sets for topics."""
        self._node = context
        self._topics = topics
        self._defaults = defaults

    def get(self, principal: Principal, topic: str, names: Sequence[str]) -> TopicConfig:
        """Return the named settings of a topic, or all, by name.

        Raises:
            RequestError: UNKNOWN_TOPIC; INVALID_CONFIG, a name that is no setting.
        """
        image = self._topics.get(principal, topic)
        return TopicConfig(self._entries(image, names), image.etag)

    async def update(self, principal: Principal, change: AlterTopicConfig) -> TopicConfig:
        """Set some, unset others, all or nothing; return those that were named, as they are now.

        Raises:
            RequestError: UNKNOWN_TOPIC, ETAG_MISMATCH, INVALID_CONFIG, NOT_IMPLEMENTED.
        """
        before = self._topics.get(principal, change.name)
        topic = await self._node.quorum.propose(change)
        named = sorted({*change.set, *change.unset})
        entries = self._entries(topic, named) if named else ()
        return TopicConfig(entries, before.etag if change.validate_only else topic.etag)

    def _entries(self, topic: TopicImage, names: Sequence[str]) -> Sequence[ConfigValue]:
        for name in names:
            check_name(name)
        wanted = {ALIASES.get(name, name) for name in names}
        every = describe(
            topic.config, defaults=self._defaults, replication_factor=topic.replication_factor
        )
        return [entry for entry in every if not wanted or entry.name in wanted]
