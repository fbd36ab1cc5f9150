"""What a legal topic, group and client name is (P54).

A name that passed is a `TopicName` or a `GroupId`; nothing else makes one. Two topics whose names
differ only in `.` and `_` may both exist: metric labels carry names as they are.
"""

import re
from typing import Final
from unicodedata import category

from model.errors import ErrorCode, RequestError
from model.ids import GroupId, TopicName
from model.limits import NAME_CHARACTERS_MAX

INTERNAL_PREFIX: Final = "__"
"""Topics of Tidelog's own begin so, as Kafka's do; clients may read them but never create one."""

TOPIC_CHARACTERS: Final = re.compile(r"[a-zA-Z0-9._-]+")
# Control characters, lone surrogates (no UTF-8 has them), line and paragraph separators.
UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


def check_topic_name(name: str) -> TopicName:
    """Accept 1-249 of [a-zA-Z0-9._-], neither `.` nor `..`: Kafka's own rule.

    Raises:
        RequestError: INVALID_TOPIC_NAME, naming what is wrong.
    """
    if (why := _topic_fault(name)) is not None:
        raise RequestError(
            ErrorCode.INVALID_TOPIC_NAME,
            f"topic name {_shown(name)} {why}",
            topic=_printable(name),
            why=why,
        )
    return TopicName(name)


def check_group_name(name: str) -> GroupId:
    """Accept 1-249 characters of any script, without control characters.

    Raises:
        RequestError: INVALID_REQUEST, naming what is wrong.
    """
    return GroupId(_check_free_text("group", name))


def check_client_name(name: str) -> str:
    """Accept what a client calls itself: empty, or as a group's name.

    Raises:
        RequestError: INVALID_REQUEST, naming what is wrong.
    """
    return _check_free_text("client_id", name) if name else name


def check_instance_id(name: str) -> str:
    """Accept what a static member calls itself: as a group's name.

    Raises:
        RequestError: INVALID_REQUEST, naming what is wrong.
    """
    return _check_free_text("instance_id", name)


def is_internal(topic: str) -> bool:
    """Tell whether a topic is one of Tidelog's own, by its name."""
    return topic.startswith(INTERNAL_PREFIX)


def _topic_fault(name: str) -> str | None:
    """Return what is wrong with a topic name."""
    if name in {".", ".."}:
        return "is reserved"
    if (why := _length_fault(name)) is not None:
        return why
    if TOPIC_CHARACTERS.fullmatch(name) is None:
        return "has a character outside a-z, A-Z, 0-9, dot, underscore and hyphen"
    return None


def _length_fault(name: str) -> str | None:
    """Return what is wrong with a name's length."""
    if not name:
        return "is empty"
    if len(name) > NAME_CHARACTERS_MAX.value:
        return f"has {len(name)} characters, at most {NAME_CHARACTERS_MAX.value}"
    return None


def _check_free_text(field: str, name: str) -> str:
    """Accept a name of a group or client, or refuse it under its field's name."""
    why = _length_fault(name)
    if why is None and any(category(character) in UNPRINTABLE for character in name):
        why = "has a control character or a line break"
    if why is not None:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"{field} {_shown(name)} {why}",
            field=field,
            value=_printable(name),
            why=why,
        )
    return name


def _shown(name: str) -> str:
    """Quote a name for a sentence; control characters are escaped (P65)."""
    return f'"{_printable(name)}"'


def _printable(name: str) -> str:
    """Cut and escape a name that was refused: it may be megabytes of anything."""
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if category(character) in UNPRINTABLE
        else character
        for character in name[: NAME_CHARACTERS_MAX.value]
    )
