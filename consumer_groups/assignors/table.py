"""Assignors by the name that a group's configuration gives them."""

from collections.abc import Mapping
from typing import Final

from consumer_groups.assignors.candidate import Assignor
from consumer_groups.assignors.range import by_range
from consumer_groups.assignors.uniform import uniform
from consumer_groups.settings import AssignorName
from model.errors import ErrorCode, RequestError

ASSIGNORS: Final[Mapping[str, Assignor]] = {
    AssignorName.UNIFORM.value: uniform,
    AssignorName.RANGE.value: by_range,
}


def check_assignor(name: str) -> str:
    """Accept the name of an assignor.

    Raises:
        RequestError: INVALID_REQUEST, naming those that there are.
    """
    if name not in ASSIGNORS:
        known = ", ".join(sorted(ASSIGNORS))
        detail = f'there is no assignor "{name}"; there are: {known}'
        raise RequestError(ErrorCode.INVALID_REQUEST, detail, field="assignor", value=name)
    return name
