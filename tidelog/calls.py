"""The calls of `tidelog.v1` that the SDK makes, and what repeating one of them does.

They are named here instead of taken from the generated stubs: those load every service at once,
which costs a command line more than the call.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from tidelog.v1 import cluster_service_pb2 as cluster
from tidelog.v1 import config_service_pb2 as config
from tidelog.v1 import log_service_pb2 as log
from tidelog.v1 import topic_service_pb2 as topic

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


class Effect(Enum):
    """What a second try of a call does if the first one took effect after all."""

    NONE = auto()
    """It reads, or sets what is set already: an unclear answer is asked for again."""
    SECOND = auto()
    """It may do it twice, or be refused by what it did: an unclear answer is the user's to know."""


@dataclass(frozen=True, slots=True)
class Call(Generic[RequestT, ResponseT]):
    """One call: its path, its two messages, and what a second try does."""

    path: str
    request: type[RequestT]
    response: type[ResponseT]
    effect: Effect = Effect.NONE


def _call(
    path: str,
    request: type[RequestT],
    response: type[ResponseT],
    *,
    effect: Effect = Effect.NONE,
) -> Call[RequestT, ResponseT]:
    return Call(f"/tidelog.v1.{path}", request, response, effect)


INIT_PRODUCER: Final = _call(
    "LogService/InitProducer", log.InitProducerRequest, log.InitProducerResponse
)
PRODUCE_STREAM: Final = _call(
    "LogService/ProduceStream", log.ProduceStreamRequest, log.ProduceStreamResponse
)
FETCH: Final = _call("LogService/Fetch", log.FetchRequest, log.FetchResponse)
SUBSCRIBE: Final = _call("LogService/Subscribe", log.SubscribeRequest, log.SubscribeResponse)
RESOLVE_OFFSETS: Final = _call(
    "LogService/ResolveOffsets", log.ResolveOffsetsRequest, log.ResolveOffsetsResponse
)
CREATE_TOPIC: Final = _call(
    "TopicService/CreateTopic",
    topic.CreateTopicRequest,
    topic.CreateTopicResponse,
    effect=Effect.SECOND,
)
ENSURE_TOPIC: Final = _call(  # the same call, by whom TOPIC_ALREADY_EXISTS is no failure
    "TopicService/CreateTopic", topic.CreateTopicRequest, topic.CreateTopicResponse
)
GET_TOPIC: Final = _call("TopicService/GetTopic", topic.GetTopicRequest, topic.GetTopicResponse)
LIST_TOPICS: Final = _call(
    "TopicService/ListTopics", topic.ListTopicsRequest, topic.ListTopicsResponse
)
ADD_PARTITIONS: Final = _call(
    "TopicService/AddPartitions", topic.AddPartitionsRequest, topic.AddPartitionsResponse
)
TRIM_TOPIC: Final = _call(  # log starts only move forward
    "TopicService/TrimTopic", topic.TrimTopicRequest, topic.TrimTopicResponse
)
DELETE_TOPIC: Final = _call(
    "TopicService/DeleteTopic",
    topic.DeleteTopicRequest,
    topic.DeleteTopicResponse,
    effect=Effect.SECOND,
)
ENSURE_NO_TOPIC: Final = _call(  # the same call, by whom UNKNOWN_TOPIC is no failure
    "TopicService/DeleteTopic", topic.DeleteTopicRequest, topic.DeleteTopicResponse
)
GET_CONFIG: Final = _call(
    "ConfigService/GetConfig", config.GetConfigRequest, config.GetConfigResponse
)
UPDATE_CONFIG: Final = _call(  # without an etag it sets what it has set
    "ConfigService/UpdateConfig", config.UpdateConfigRequest, config.UpdateConfigResponse
)
GET_CLUSTER: Final = _call(
    "ClusterService/GetCluster", cluster.GetClusterRequest, cluster.GetClusterResponse
)
WATCH_CLUSTER: Final = _call(
    "ClusterService/WatchCluster", cluster.WatchClusterRequest, cluster.WatchClusterResponse
)
TRANSFER_LEADERSHIP: Final = _call(  # who leads already goes on leading
    "ClusterService/TransferLeadership",
    cluster.TransferLeadershipRequest,
    cluster.TransferLeadershipResponse,
)
ELECT_UNCLEAN_LEADER: Final = _call(
    "ClusterService/ElectUncleanLeader",
    cluster.ElectUncleanLeaderRequest,
    cluster.ElectUncleanLeaderResponse,
    effect=Effect.SECOND,
)
GET_QUORUM: Final = _call(
    "ClusterService/GetQuorum", cluster.GetQuorumRequest, cluster.GetQuorumResponse
)
ADD_VOTER: Final = _call(
    "ClusterService/AddVoter",
    cluster.AddVoterRequest,
    cluster.AddVoterResponse,
    effect=Effect.SECOND,
)
REMOVE_VOTER: Final = _call(
    "ClusterService/RemoveVoter",
    cluster.RemoveVoterRequest,
    cluster.RemoveVoterResponse,
    effect=Effect.SECOND,
)
