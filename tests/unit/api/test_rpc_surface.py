"""What is not served says so, with the step that brings it."""

import re
from pathlib import Path

import pytest

from api import rpc_surface
from api.rpc_surface import SERVED, STEPS, not_implemented
from model.errors import ErrorCode


def test_a_call_that_is_not_served_names_itself_and_its_step() -> None:
    refusal = not_implemented("QueueService/Work")
    assert refusal.code is ErrorCode.NOT_IMPLEMENTED
    assert refusal.detail == (
        "QueueService/Work is not built yet; it comes with step 6 transactions and queues"
    )
    assert refusal.metadata == {"call": "QueueService/Work", "step": "6"}


def test_only_calls_that_exist_are_served() -> None:
    assert STEPS.keys() >= SERVED
    with pytest.raises(KeyError):
        not_implemented("QueueService/Dance")


def test_a_served_call_that_does_not_exist_stops_the_import() -> None:
    source = Path(rpc_surface.__file__).read_text()
    wrong = re.sub(r"(SERVED: .*?= frozenset\().*?\)\n", r"\1{'A/B'})\n", source, flags=re.DOTALL)
    assert wrong != source
    with pytest.raises(AssertionError, match="SERVED_CALL_EXISTS"):
        exec(compile(wrong, "rpc_surface.py", "exec"), {"__name__": "wrong"})
