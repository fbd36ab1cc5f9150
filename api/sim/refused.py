"""What a client sees of a call that was not answered as it was meant."""

from typing import Final, NamedTuple

from model.errors import ErrorCode, Outcome, RequestError
from tidelog.v1 import common_pb2

NO_ANSWER: Final = "NO_ANSWER"
"""The connection broke, or the time was up."""
NOT_SENT: Final = "NOT_SENT"
"""Nobody was there."""


class Refused(NamedTuple):
    """A refusal, or none at all: the name of an error code, or one of those above."""

    reason: str
    detail: str = ""

    @property
    def may_be_done(self) -> bool:
        """Whether what was asked for may have taken effect, or may yet."""
        if self.reason in {NO_ANSWER, NOT_SENT}:
            return self.reason == NO_ANSWER
        return ErrorCode[self.reason].outcome is Outcome.UNKNOWN


def row_refusal(error: common_pb2.RecordError) -> Refused:
    """Return the refusal of one row of an answer."""
    return Refused(error.reason, error.message)


def refusal_of(error: RequestError) -> Refused:
    """Return what a client sees of a refused call."""
    return Refused(error.code.name, error.detail)
