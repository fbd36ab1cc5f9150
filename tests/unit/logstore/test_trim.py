"""Deleting from the front on request: where the log starts then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.trim import TO_HIGH_WATERMARK, plan
from model.errors import ErrorCode, RequestError
from model.ids import Offset


@given(st.integers(0, 20), st.integers(0, 20), st.integers(-1, 25))
def test_the_log_start_moves_to_the_offset_or_stays(start: int, above: int, offset: int) -> None:
    log_start, mark = Offset(start), Offset(start + above)
    if offset > mark:
        with pytest.raises(RequestError) as refused:
            plan(offset, log_start=log_start, high_watermark=mark)
        assert refused.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
        assert refused.value.metadata["high_watermark"] == str(mark)
    else:
        wanted = mark if offset == TO_HIGH_WATERMARK else max(start, offset)
        assert plan(offset, log_start=log_start, high_watermark=mark) == wanted


def test_other_negative_offsets_are_refused() -> None:
    with pytest.raises(RequestError, match="between the log start 3 and the high watermark 9"):
        plan(-2, log_start=Offset(3), high_watermark=Offset(9))
