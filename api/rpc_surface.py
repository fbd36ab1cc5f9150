"""Which gRPC calls there are, with which step each comes, and which this release serves.

A call that is not in `SERVED` answers UNIMPLEMENTED with NOT_IMPLEMENTED, whatever code stands
behind it: so a call joins the set in the change that makes its tests pass. docs/reference/rpcs.md
is printed from here and from the comments in proto/; a test holds the table equal to the proto.
"""

from enum import IntEnum
from typing import Final

from model.errors import ErrorCode, RequestError


class Step(IntEnum):
    """The steps in which Tidelog is built; the page names them so."""

    ONE_NODE = 1
    CLUSTER = 2
    GROUPS = 3
    HISTORY = 4
    OPERATE = 5
    TRANSACTIONS_AND_QUEUES = 6

    @property
    def title(self) -> str:
        """Return its number and name for people."""
        return f"{self.value} {self.name.replace('_', ' ').lower()}"


_BY_SERVICE: Final = {
    "LogService": {
        Step.ONE_NODE: "InitProducer Produce ProduceStream Fetch Subscribe ResolveOffsets",
    },
    "TopicService": {
        Step.ONE_NODE: "CreateTopic GetTopic ListTopics AddPartitions TrimTopic DeleteTopic",
    },
    "ConfigService": {Step.ONE_NODE: "GetConfig UpdateConfig"},
    "ConsumerGroupService": {
        Step.ONE_NODE: "Consume CommitOffsets ListGroupOffsets SeekOffsets DeleteOffsets "
        "GetConsumerGroup ListConsumerGroups DeleteConsumerGroup",
        Step.HISTORY: "ListOffsetHistory",
    },
    "ClusterService": {
        Step.ONE_NODE: "GetCluster",
        Step.CLUSTER: "WatchCluster TransferLeadership ElectUncleanLeader GetQuorum AddVoter "
        "RemoveVoter",
        Step.OPERATE: "DrainBroker UndrainBroker RemoveBroker ReassignPartitions "
        "ListReassignments CancelReassignments",
    },
    "StreamService": {Step.HISTORY: "AppendEvents ReadStream GetStream DeleteStream"},
    "QueueService": {
        Step.TRANSACTIONS_AND_QUEUES: "CreateQueue GetQueue ListQueues UpdateQueue DeleteQueue "
        "Receive Work Settle ListDeadLetters RedriveDeadLetters",
    },
    "TransactionService": {
        Step.TRANSACTIONS_AND_QUEUES: "AddOffsets EndTransaction ListTransactions",
    },
}

STEPS: Final = {
    f"{service}/{call}": step
    for service, steps in _BY_SERVICE.items()
    for step, calls in steps.items()
    for call in calls.split()
}
"""`LogService/Fetch` and so on, with the step that brings it."""

SERVED: Final[frozenset[str]] = frozenset(
    {
        "LogService/InitProducer",
        "LogService/Produce",
        "LogService/ProduceStream",
        "LogService/Fetch",
        "LogService/Subscribe",
        "LogService/ResolveOffsets",
        "TopicService/CreateTopic",
        "TopicService/GetTopic",
        "TopicService/ListTopics",
        "TopicService/AddPartitions",
        "TopicService/TrimTopic",
        "TopicService/DeleteTopic",
        "ConfigService/GetConfig",
        "ConfigService/UpdateConfig",
        "ConsumerGroupService/Consume",
        "ConsumerGroupService/CommitOffsets",
        "ConsumerGroupService/ListGroupOffsets",
        "ConsumerGroupService/SeekOffsets",
        "ConsumerGroupService/DeleteOffsets",
        "ConsumerGroupService/GetConsumerGroup",
        "ConsumerGroupService/ListConsumerGroups",
        "ConsumerGroupService/DeleteConsumerGroup",
        "ClusterService/GetCluster",
        "ClusterService/WatchCluster",
        "ClusterService/TransferLeadership",
        "ClusterService/ElectUncleanLeader",
        "ClusterService/GetQuorum",
        "ClusterService/AddVoter",
        "ClusterService/RemoveVoter",
    }
)
"""What this release answers with more than NOT_IMPLEMENTED."""

assert STEPS.keys() >= SERVED, "SERVED_CALL_EXISTS"


def not_implemented(call: str) -> RequestError:
    """Return the refusal of a call that exists in the proto and is not served yet."""
    step = STEPS[call]
    return RequestError(
        ErrorCode.NOT_IMPLEMENTED,
        f"{call} is not built yet; it comes with step {step.title}",
        call=call,
        step=str(step.value),
    )
