"""The refusal of a topic that does not exist, wherever somebody looks for one."""

from collections.abc import Collection
from itertools import islice
from typing import Final

from model.errors import ErrorCode, RequestError
from model.ids import TopicId
from model.limits import NAME_CHARACTERS_MAX
from model.suggest import did_you_mean

LOOKED_THROUGH_MAX: Final = 1_000
"""Among more topics no name is looked for: the loop waits meanwhile."""
COMPARED_MAX: Final = 10
"""Comparing two names takes 50 us and more."""


def unknown_name(name: str, known: Collection[str]) -> RequestError:
    """Return UNKNOWN_TOPIC with the nearest of the known names; clients may have sent any text."""
    shown = name[: NAME_CHARACTERS_MAX.value].encode("unicode_escape").decode("ascii")
    detail = f'topic "{shown}" does not exist'
    near = _nearest(shown, known)
    if near is None:
        return RequestError(ErrorCode.UNKNOWN_TOPIC, detail, topic=shown)
    return RequestError(ErrorCode.UNKNOWN_TOPIC, detail, topic=shown, did_you_mean=near)


def _nearest(name: str, known: Collection[str]) -> str | None:
    """Return a name that may have been meant: about as long, and begins or ends alike."""
    if len(known) > LOOKED_THROUGH_MAX or not name:
        return None
    alike = (
        one
        for one in known
        if abs(len(one) - len(name)) <= 2 and (one[:2] == name[:2] or one[-2:] == name[-2:])
    )
    return did_you_mean(name, islice(alike, COMPARED_MAX))


def unknown_id(topic_id: TopicId) -> RequestError:
    """Return UNKNOWN_TOPIC of an id."""
    shown = topic_id.hex()
    return RequestError(ErrorCode.UNKNOWN_TOPIC, f"no topic has the id {shown}", topic_id=shown)
