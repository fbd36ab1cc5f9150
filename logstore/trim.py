"""Deleting from the front of a partition on request: Kafka's DeleteRecords, `topic trim`.

The log start moves at once, to any offset, also inside a batch: what lies below is invisible from
then on. Files go later, whole segments only, once the new log start is durable.
"""

from typing import Final

from model.errors import ErrorCode, RequestError
from model.ids import Offset

TO_HIGH_WATERMARK: Final = -1
"""Stands for the high watermark in a request: everything that is committed goes."""


def plan(offset: int, *, log_start: Offset, high_watermark: Offset) -> Offset:
    """Return the log start after deleting what lies below `offset`; it never falls.

    Raises:
        RequestError: OFFSET_OUT_OF_RANGE above the high watermark, or negative but not -1.
    """
    if offset == TO_HIGH_WATERMARK:
        return max(log_start, high_watermark)
    if not 0 <= offset <= high_watermark:
        raise RequestError(
            ErrorCode.OFFSET_OUT_OF_RANGE,
            f"cannot delete records below {offset}: name an offset between the log start "
            f"{log_start} and the high watermark {high_watermark}, or -1 for the latter",
            offset=str(offset),
            log_start=str(log_start),
            high_watermark=str(high_watermark),
        )
    return max(log_start, Offset(offset))
