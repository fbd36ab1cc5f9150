"""The metadata machine: one place where requests are decided and records are replayed.

Deciding reads the state and returns records; replaying is the only change of state, and leader,
follower and restart share it. What is decided is replayed at once, ahead of the disk, so that the
next decision sees it; nobody outside hears of it before it is committed: whoever hosts the machine
publishes only images that `freeze` made of a state whose records are durable.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from cluster.controller.alter_config import (
    AlterTopicConfig,
    alter_topic_config,
    replay_configured,
)
from cluster.controller.brokers import (
    FormCluster,
    RegisterBroker,
    form_cluster,
    register_broker,
    replay_formed,
    replay_registered,
)
from cluster.controller.feature_level import (
    RaiseFeatureLevel,
    raise_feature_level,
    replay_raised,
)
from cluster.controller.group_config import (
    AlterGroupConfig,
    alter_group_config,
    replay_group_configured,
)
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.isr import (
    AlterIsr,
    AnswerForUnclean,
    alter_isr,
    answer_for_unclean,
)
from cluster.controller.leadership import (
    ElectPreferred,
    ElectUnclean,
    TellRecovered,
    TransferLeader,
    elect_preferred,
    elect_unclean,
    tell_recovered,
    transfer_leader,
)
from cluster.controller.partitions import (
    AddPartitions,
    add_partitions,
    replay_added,
    replay_changed,
)
from cluster.controller.producer_ids import (
    AllocateProducerIds,
    allocate_producer_ids,
    replay_allocated,
)
from cluster.controller.records import (
    BrokerRegistered,
    BrokerRemoved,
    BrokerStandingChanged,
    ClusterFormed,
    FeatureLevelRaised,
    GroupConfigured,
    MetadataRecord,
    PartitionsAdded,
    PartitionsChanged,
    ProducerIdsAllocated,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
    TopicFilesRemoved,
    VoteWithheld,
)
from cluster.controller.request import Circumstances, Request
from cluster.controller.standing import (
    RemoveBroker,
    SetStanding,
    remove_broker,
    replay_removed,
    replay_standing,
    set_standing,
)
from cluster.controller.state import MetadataState
from cluster.controller.topics import (
    CreateTopic,
    DeleteTopic,
    TopicRemoved,
    create_topic,
    delete_topic,
    replay_created,
    replay_deleted,
    replay_files_removed,
    topic_removed,
)
from cluster.controller.votes import WithholdVotes, replay_withheld, withhold_votes
from model.ids import Index
from model.result import Result

AnswerT = TypeVar("AnswerT")

# The request's type and the answer's are bound to each other by `Request[AnswerT]`.
Decide = Callable[[MetadataState, Any, Circumstances], Result[MetadataRecord, Any]]
Replay = Callable[[MetadataState, Any], None]

DECIDE: Final[Mapping[type, Decide]] = {
    AddPartitions: add_partitions,
    AllocateProducerIds: allocate_producer_ids,
    AlterGroupConfig: alter_group_config,
    AlterIsr: alter_isr,
    AlterTopicConfig: alter_topic_config,
    AnswerForUnclean: answer_for_unclean,
    CreateTopic: create_topic,
    DeleteTopic: delete_topic,
    ElectPreferred: elect_preferred,
    ElectUnclean: elect_unclean,
    FormCluster: form_cluster,
    RaiseFeatureLevel: raise_feature_level,
    RegisterBroker: register_broker,
    RemoveBroker: remove_broker,
    SetStanding: set_standing,
    TellRecovered: tell_recovered,
    TopicRemoved: topic_removed,
    TransferLeader: transfer_leader,
    WithholdVotes: withhold_votes,
}
REPLAY: Final[Mapping[type, Replay]] = {
    BrokerRegistered: replay_registered,
    BrokerRemoved: replay_removed,
    BrokerStandingChanged: replay_standing,
    ClusterFormed: replay_formed,
    FeatureLevelRaised: replay_raised,
    GroupConfigured: replay_group_configured,
    PartitionsAdded: replay_added,
    PartitionsChanged: replay_changed,
    ProducerIdsAllocated: replay_allocated,
    TopicConfigured: replay_configured,
    TopicCreated: replay_created,
    TopicDeleted: replay_deleted,
    TopicFilesRemoved: replay_files_removed,
    VoteWithheld: replay_withheld,
}


class ControllerMachine:
    """The metadata, as far as its log has been replayed."""

    def __init__(self, defaults: Mapping[str, str]) -> None:
        """Start empty on a node with those defaults for its topics, by topic setting's name."""
        self._state = MetadataState(defaults)

    def handle(
        self, request: Request[AnswerT], circumstances: Circumstances
    ) -> Result[MetadataRecord, AnswerT]:
        """Decide one request; changes nothing.

        Raises:
            RequestError: refused. The refusal may rest on what is not committed yet.
        """
        return DECIDE[type(request)](self._state, request, circumstances)

    def replay(self, record: MetadataRecord) -> None:
        """Apply one record: the only change of state."""
        REPLAY[type(record)](self._state, record)

    def freeze(self, applied: Index) -> tuple[MetadataImage, MetadataDelta]:
        """Return the state as an immutable image, and what changed since the last call."""
        return self._state.freeze(applied)
