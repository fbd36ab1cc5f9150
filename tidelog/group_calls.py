"""The calls of `ConsumerGroupService` and what of `ConfigService` concerns groups.

They stand apart from `tidelog.calls`: a program without groups loads none of their messages.
"""

from typing import Final

from tidelog.calls import Call, Effect
from tidelog.v1 import group_service_pb2 as group

_SERVICE: Final = "/tidelog.v1.ConsumerGroupService"

CONSUME: Final = Call(f"{_SERVICE}/Consume", group.ConsumeRequest, group.ConsumeResponse)
COMMIT_OFFSETS: Final = Call(  # sets what it has set
    f"{_SERVICE}/CommitOffsets", group.CommitOffsetsRequest, group.CommitOffsetsResponse
)
LIST_GROUP_OFFSETS: Final = Call(
    f"{_SERVICE}/ListGroupOffsets", group.ListGroupOffsetsRequest, group.ListGroupOffsetsResponse
)
LIST_OFFSET_HISTORY: Final = Call(
    f"{_SERVICE}/ListOffsetHistory",
    group.ListOffsetHistoryRequest,
    group.ListOffsetHistoryResponse,
)
SEEK_OFFSETS: Final = Call(  # a shift done twice goes twice as far; members are fenced twice
    f"{_SERVICE}/SeekOffsets",
    group.SeekOffsetsRequest,
    group.SeekOffsetsResponse,
    Effect.SECOND,
)
PLAN_SEEK: Final = Call(  # the same call as a dry run
    f"{_SERVICE}/SeekOffsets", group.SeekOffsetsRequest, group.SeekOffsetsResponse
)
DELETE_OFFSETS: Final = Call(
    f"{_SERVICE}/DeleteOffsets", group.DeleteOffsetsRequest, group.DeleteOffsetsResponse
)
GET_GROUP: Final = Call(
    f"{_SERVICE}/GetConsumerGroup",
    group.GetConsumerGroupRequest,
    group.GetConsumerGroupResponse,
)
LIST_GROUPS: Final = Call(
    f"{_SERVICE}/ListConsumerGroups",
    group.ListConsumerGroupsRequest,
    group.ListConsumerGroupsResponse,
)
DELETE_GROUP: Final = Call(
    f"{_SERVICE}/DeleteConsumerGroup",
    group.DeleteConsumerGroupRequest,
    group.DeleteConsumerGroupResponse,
    Effect.SECOND,
)
ENSURE_NO_GROUP: Final = Call(  # the same call, by whom UNKNOWN_GROUP is no failure
    f"{_SERVICE}/DeleteConsumerGroup",
    group.DeleteConsumerGroupRequest,
    group.DeleteConsumerGroupResponse,
)
