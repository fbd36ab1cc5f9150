"""What a member is told whose group another node coordinates by now, or nobody for the moment."""

from typing import Final

from model.errors import ErrorCode, RequestError
from model.ids import GroupId

MOVED: Final = frozenset(
    {
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.COORDINATOR_LOADING,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.LEADERSHIP_LOST,
    }
)
"""What a coordinator answers that is none any more, or not yet."""


def coordinator_moved(group: GroupId) -> RequestError:
    """Return what ends a member's stream; the membership itself goes on.

    Commits without an answer may have been made or not: who resumes makes them again.
    """
    return RequestError(
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        f'the coordinator of group "{group}" has moved; resume with member id and epoch, '
        "through any node",
        group=group,
    )
