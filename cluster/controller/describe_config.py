"""The settings of a topic as a person sees them: value, origin, default, meaning."""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from cluster.controller.configs import (
    ALIASES,
    SERVED,
    WITHOUT_EFFECT,
    parse,
    text_of,
)
from model.settings import Declaration, Unit


class Source(Enum):
    """Where a value comes from."""

    DEFAULT = "default"
    STATIC = "static"
    """The node's file, environment or command line."""
    RESOURCE = "resource"
    """Set for this very topic."""


class ConfigValue(NamedTuple):
    """One setting of one topic, as a person wants to see it."""

    name: str
    value: str
    source: Source
    default: str
    """What would hold if it were not set for this topic."""
    doc: str
    value_type: str
    """int, bytes, duration or string."""
    read_only: bool


def describe(
    config: Mapping[str, str], *, defaults: Mapping[str, str], replication_factor: int
) -> Iterator[ConfigValue]:
    """Yield every setting of a topic, by name; the config was accepted before."""
    inherited = parse({}, defaults=defaults, replication_factor=replication_factor)
    own = parse(config, defaults=defaults, replication_factor=replication_factor)
    given = {ALIASES.get(name, name) for name in config}
    for name in sorted({*SERVED, *WITHOUT_EFFECT}):
        if name in SERVED:
            declaration = SERVED[name]
            value, default = (text_of(getattr(s, declaration.name)) for s in (own, inherited))
            doc, value_type = declaration.setting.doc, _type_word(declaration)
        else:
            default = WITHOUT_EFFECT[name]
            value = config.get(name, default)
            doc, value_type = "Kept for Kafka's tools; has no effect here.", "string"
        source = Source.STATIC if name in defaults else Source.DEFAULT
        source = Source.RESOURCE if name in given else source
        yield ConfigValue(name, value, source, default, doc, value_type, name == "tidelog.kind")


def _type_word(declaration: Declaration) -> str:
    words = {Unit.BYTES: "bytes", Unit.MILLISECONDS: "duration", Unit.COUNT: "int"}
    unit = declaration.setting.unit
    return "string" if unit is None else words[unit]
