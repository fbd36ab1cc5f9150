"""How a setting is declared, checked, and read from text.

Each component declares one frozen dataclass of settings. Name, type, default, unit, bounds and
documentation stand together, so the reference in docs/reference/settings.md is generated from the
declarations and cannot drift from them.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class TopicSettings:
        retention_ms: Annotated[
            int | None,
            Setting("Delete what was appended longer ago; none = keep.", Unit.MILLISECONDS, 0,
                    100 * YEAR, kafka_name="retention.ms"),
        ] = 7 * DAY

        def __post_init__(self) -> None:
            check_bounds(self)
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import Enum, StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Final, Union, get_args, get_origin, get_type_hints

from model.quantity import QUANTITIES, parse_quantity

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Value = int | bool | str | Enum | None
"""What a setting can be; `None` only where the declaration says so."""

NONE_WORD: Final = "none"
HIDDEN: Final = "(not shown)"
"""Stands for the value of a secret setting."""
BOOL_WORDS: Final = {"true": True, "false": False}


class Unit(StrEnum):
    """The unit of a numeric setting; all but COUNT stand in its name."""

    BYTES = "bytes"
    MILLISECONDS = "ms"
    PERCENT = "percent"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Setting:
    """What the type of a setting cannot say.

    Integers have a unit and both bounds; a string may have `high`, its greatest length in
    characters. `kafka_name` is the name under which Kafka's clients and tools know it. The value of
    a `secret` one is never shown.
    """

    doc: str
    unit: Unit | None = None
    low: int | None = None
    high: int | None = None
    kafka_name: str | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Declaration:
    """One setting of a settings dataclass: its name, the type of its value, and its `Setting`."""

    name: str
    kind: type
    optional: bool
    setting: Setting

    def problem(self, value: object) -> str | None:
        """Return what is wrong with a value, or None."""
        if value is None:
            return None if self.optional else f"{self.name} must have a value"
        if type(value) is not self.kind:
            return (
                f"{self.name} = {value!r} is not {_KIND_WORDS.get(self.kind, self.kind.__name__)}"
            )
        if isinstance(value, Enum) or not isinstance(value, int | str):
            return None
        size = len(value) if isinstance(value, str) else value
        low, high = self.setting.low, self.setting.high
        if (low is None or low <= size) and (high is None or size <= high):
            return None
        shown = HIDDEN if self.setting.secret else value
        return f"{self.name} = {shown} is outside {self.range()}"

    def range(self) -> str:
        """Return the values that are accepted, for people."""
        low, high, unit = self.setting.low, self.setting.high, self.setting.unit
        if issubclass(self.kind, Enum):
            words = ", ".join(str(member.value) for member in self.kind)
        elif self.kind is bool:
            words = "true, false"
        elif self.kind is str:
            words = "text" if high is None else f"{low or 0}..{high} characters"
        else:
            words = f"{low}..{high} {unit}"
        return f"{words} or {NONE_WORD}" if self.optional else words


_KIND_WORDS: Final = {int: "a whole number", bool: "true or false", str: "text"}


def declarations(cls: "type[DataclassInstance]") -> Iterator[Declaration]:
    """Yield each setting of a settings dataclass.

    Raises:
        TypeError: a field carries no `Setting`, is of a type that no setting has, lacks bounds or
            unit, does not name its unit, or takes another's Kafka name.
    """
    hints = get_type_hints(cls, include_extras=True)
    kafka_names: set[str] = set()
    for field in fields(cls):
        declaration = _declaration(f"{cls.__name__}.{field.name}", field.name, hints[field.name])
        kafka_name = declaration.setting.kafka_name
        if kafka_name is not None:
            if kafka_name in kafka_names:
                raise TypeError(f"{cls.__name__}.{field.name} repeats {kafka_name}")
            kafka_names.add(kafka_name)
        yield declaration


def declared(cls: "type[DataclassInstance]") -> Iterator[tuple[str, Setting]]:
    """Yield the name of each setting with what was declared about it; raises as `declarations`."""
    for declaration in declarations(cls):
        yield declaration.name, declaration.setting


@cache
def _declarations_once(cls: "type[DataclassInstance]") -> tuple[Declaration, ...]:
    """Return what a class declares; reading annotations costs far more than a check of bounds."""
    return tuple(declarations(cls))


def check_bounds(settings: "DataclassInstance") -> None:
    """Refuse a value of another type, or outside its declared bounds.

    Raises:
        ValueError: with the setting's name, its value, its bounds and its unit.
    """
    for declaration in _declarations_once(type(settings)):
        if (problem := declaration.problem(getattr(settings, declaration.name))) is not None:
            raise ValueError(problem)


def parse(declaration: Declaration, text: str) -> Value:
    """Read a value as an operator writes it: `7d`, `256MiB`, `true`, `none`, a plain number.

    Plain numbers are in the setting's unit. The value is checked against the bounds.

    Raises:
        ValueError: names the setting, the text, and what would be accepted.
    """
    value = _parsed(declaration, text.strip())
    if (problem := declaration.problem(value)) is not None:
        raise ValueError(problem)
    return value


def _parsed(declaration: Declaration, text: str) -> Value:
    """Read text as the declared type, without its bounds."""
    written = ", ".join(QUANTITIES.get(str(declaration.setting.unit), ()))
    more = f", or with one of {written}" if written and declaration.kind is int else ""
    refusal = ValueError(
        f"{declaration.name} = {text!r} is not one of: {declaration.range()}{more}"
    )
    if declaration.optional and text == NONE_WORD:
        return None
    if issubclass(declaration.kind, Enum):
        for member in declaration.kind:
            if str(member.value) == text:
                return member
        raise refusal
    if declaration.kind is bool:
        if text not in BOOL_WORDS:
            raise refusal
        return BOOL_WORDS[text]
    if declaration.kind is str:
        return text
    if (number := parse_quantity(text, str(declaration.setting.unit))) is None:
        raise refusal
    return number


def _declaration(where: str, name: str, hint: object) -> Declaration:
    """Take one field's annotation apart, or say what is wrong with it."""
    marks = [mark for mark in get_args(hint)[1:] if isinstance(mark, Setting)]
    if get_origin(hint) is not Annotated or len(marks) != 1:
        raise TypeError(f"{where} must carry exactly one Setting")
    plain = get_args(hint)[0]
    optional = get_origin(plain) in {Union, UnionType} and NoneType in get_args(plain)
    kind = next(arm for arm in get_args(plain) if arm is not NoneType) if optional else plain
    if not (kind in _KIND_WORDS or (isinstance(kind, type) and issubclass(kind, Enum))):
        raise TypeError(f"{where} is of a type that no setting has: {plain}")
    setting = marks[0]
    if kind is int:
        if setting.unit is None or setting.low is None or setting.high is None:
            raise TypeError(f"{where} is a number without unit or bounds")
        if setting.unit is not Unit.COUNT and setting.unit not in name.split("_"):
            raise TypeError(f"{where} does not name its unit")
    return Declaration(name, kind, optional, setting)


def show(value: Value, unit: Unit | None = None) -> str:
    """Write a value as `parse` reads it, in the largest unit that keeps it whole."""
    if value is None:
        return NONE_WORD
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, int) and value > 0:
        for suffix, factor in reversed(QUANTITIES.get(str(unit), {}).items()):
            if value % factor == 0:
                return f"{value // factor}{suffix}"
    return str(value)


def reference(cls: "type[DataclassInstance]") -> str:
    """Return the Markdown reference table of a settings dataclass."""
    rows = ["| setting | Kafka's name | default | range | meaning |", "| --- " * 5 + "|"]
    defaults = {field.name: field.default for field in fields(cls)}
    for declaration in declarations(cls):
        setting = declaration.setting
        default = defaults[declaration.name]
        assert isinstance(default, int | str | Enum | NoneType), "SETTING_HAS_DEFAULT"
        kafka_name = "" if setting.kafka_name is None else f"`{setting.kafka_name}`"
        rows.append(
            f"| `{declaration.name}` | {kafka_name} | {show(default, setting.unit)} "
            f"| {declaration.range()} | {setting.doc} |"
        )
    return "\n".join(rows)
