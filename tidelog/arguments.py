"""Arguments that look right and are not, refused where they are passed, with what to pass instead.

Python hands a number of seconds, a list of topics or the class `dict` on to where nobody can tell
any more what was meant.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from tidelog.codecs import Codec, T


def span_of(name: str, value: timedelta) -> timedelta:
    """Return a length of time.

    Raises:
        TypeError: it is a number, or something else.
    """
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} is {value!r}; pass a timedelta, such as timedelta(seconds=5)")
    return value


def topics_of(topics: Sequence[str]) -> Sequence[str]:
    """Return names of topics, given as a sequence.

    Raises:
        TypeError: it is one name, or something in it is none.
    """
    if isinstance(topics, str):
        raise TypeError(f"topics is {topics!r}; pass a list of names, such as [{topics!r}]")
    for topic in topics:
        if not isinstance(topic, str):
            raise TypeError(
                f"a topic is {topic!r}, not a name; write names one after the other: "
                '"orders", "payments", or *names'
            )
    return topics


def codec_of(name: str, codec: Codec[T]) -> Codec[T]:
    """Return a codec.

    Raises:
        TypeError: it has no `encode` or no `decode`.
    """
    for method in ("encode", "decode"):
        if not callable(getattr(codec, method, None)):
            raise TypeError(
                f"{name} is {codec!r}, which has no {method}; pass a codec, such as tidelog.UTF8 "
                "or tidelog.json(Order)"
            )
    return codec


def settings_of(settings: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return settings by their names, in text as everywhere.

    Raises:
        TypeError: a value is no text.
    """
    for name, value in (settings or {}).items():
        if not isinstance(value, str):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            raise TypeError(f"{name} is {value!r}; settings are text: pass {text!r}")
    return settings or {}
