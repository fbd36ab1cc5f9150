"""Every call of the package is in the table of steps, and what is served has a handler."""

from typing import Any, cast

import pytest

from api.rpc.surface import generic_handlers, served_services, services
from api.rpc_surface import STEPS


def test_the_table_and_the_package_name_the_same_calls() -> None:
    calls = {f"{one.name}/{method.name}" for one in services() for method in one.methods}
    assert calls == set(STEPS)


def test_a_served_call_without_handler_stops_the_door() -> None:
    with pytest.raises(AssertionError, match="SERVED_CALL_HAS_HANDLER"):
        generic_handlers(cast(Any, None), {})


def test_services_of_later_steps_are_not_shown() -> None:
    assert "tidelog.v1.LogService" in served_services()
    assert "tidelog.v1.QueueService" not in served_services()
