"""Where a node's settings come from: flags, environment, file, defaults, in that order.

Every value knows its origin. All faults are told at once, each with its origin and, for a name that
nobody knows, the likeliest one that was meant.

    [node]                          TIDELOG_NODE__DATA_DIR=/srv/tidelog
    data_dir = "/srv/tidelog"       tidelog serve -X node.data_dir=/srv/tidelog
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from api.settings import SECTIONS, TOPIC_DEFAULTS, NodeSettings
from cluster.controller.configs import ALIASES, SERVED, check_default
from model.errors import RequestError
from model.settings import HIDDEN, Declaration, Value, declarations, parse, show
from model.suggest import did_you_mean

PREFIX: Final = "TIDELOG_"
CLIENT_PREFIX: Final = "TIDELOG_CLIENT__"
FILE_SUFFIX: Final = "_FILE"
"""Ends a variable that names a file with the value."""
SHORT: Final = {
    "TIDELOG_LOG_LEVEL": ("logging", "level"),
    "TIDELOG_LOG_FORMAT": ("logging", "format"),
}
"""Variables with a name of their own."""

FILE_BYTES_MAX: Final = 1 << 20
LINE_BYTES_MAX: Final = 4_096
"""Of a file: tomllib takes the square of the time for a key of many dots."""
SUGGESTIONS_MAX: Final = 3
"""Unknown names that are compared with all that there are, some 5 ms each: further ones are told
as they stand, so that a file of another program is refused at once."""
PROBLEMS_MAX: Final = 20
"""Faults that are told one by one; of further ones the number."""
DEFAULT: Final = "default"
OVERRIDE: Final = "-X"
_REFERENCE: Final = "the reference of every setting is config.reference.toml"

DECLARED: Final[Mapping[str, Mapping[str, Declaration]]] = {
    section: {declaration.name: declaration for declaration in declarations(cls)}
    for section, (_, cls) in SECTIONS.items()
}
"""Section to key to declaration."""


SECTION_WORDS_MAX: Final = max(section.count(".") + 1 for section in SECTIONS)


class Given(NamedTuple):
    """One value that somebody set, as text."""

    section: str
    key: str
    text: str
    origin: str


class ConfigRefused(ValueError):  # noqa: N818 - ends the start of a node
    """A configuration that cannot be served: every fault, and what to do."""

    def __init__(self, problems: Sequence[str], hint: str) -> None:
        """Take the faults, one line each."""
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force, and who set each that has not its default."""

    settings: NodeSettings
    origins: Mapping[tuple[str, str], str]
    warnings: tuple[str, ...] = ()
    """Names that nobody knows, where that was allowed."""

    def origin(self, section: str, key: str) -> str:
        """Return where a value comes from."""
        return self.origins.get((section, key), DEFAULT)


def load(
    *,
    file: str | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
    overrides: Sequence[str] = (),
    base: Sequence[Given] = (),
    options: Sequence[Given] = (),
    allow_unknown: bool = False,
) -> Loaded:
    """Return the settings of a node.

    `base`: what a command sets instead of a default; `options`: what its own flags set.

    Raises:
        ConfigRefused: a name that is not known, a value out of bounds, a file that does not parse.
    """
    given = [*base]
    if file is not None:
        given += of_file(file)
    given += of_environment(environment)
    given += [of_override(override) for override in overrides]
    given += options
    return _assembled(given, allow_unknown=allow_unknown)


def of_file(path: str) -> list[Given]:
    """Return what a TOML file sets.

    Raises:
        ConfigRefused: it cannot be read, or is no TOML.
    """
    try:
        if Path(path).stat().st_size > FILE_BYTES_MAX:
            raise ConfigRefused([f"{path}: more than {FILE_BYTES_MAX} bytes"], _REFERENCE)
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigRefused([f"{path}: {error.strerror}"], "check --config") from error
    return of_bytes(content, path)


def of_bytes(content: bytes, where: str) -> list[Given]:
    """Return what the bytes of a TOML file set; `where` is its name.

    Raises:
        ConfigRefused: they are no TOML, or longer in a line or nested deeper than any setting is.
    """
    longest = max(map(len, content.splitlines()), default=0)
    if longest > LINE_BYTES_MAX:
        why = f"{where}: a line of {longest} bytes, at most {LINE_BYTES_MAX}"
        raise ConfigRefused([why], _REFERENCE)
    try:
        document = tomllib.loads(content.decode("utf-8"))
        leaves = list(_leaves(document, (), where=where))
    except ConfigRefused:
        raise
    except ValueError as malformed:  # no UTF-8, or no TOML
        raise ConfigRefused([f"{where}: {malformed}"], _REFERENCE) from malformed
    except RecursionError as deep:
        raise ConfigRefused([f"{where}: nested too deeply"], _REFERENCE) from deep
    return [Given(*_place(words), text, where) for words, text in leaves]


def of_environment(environment: Mapping[str, str]) -> list[Given]:
    """Return what the environment sets: `TIDELOG_<SECTION>__<KEY>`; `_FILE` names a file with it.

    Raises:
        ConfigRefused: a file that is named so cannot be read.
    """
    given = []
    for variable in sorted(environment):
        if variable in SHORT:
            given.append(Given(*SHORT[variable], environment[variable], variable))
        elif "__" in variable and variable.startswith(PREFIX):
            if not variable.startswith(CLIENT_PREFIX):
                given.append(_of_variable(variable, environment[variable]))
    return given


def _of_variable(variable: str, text: str) -> Given:
    words = tuple(variable.removeprefix(PREFIX).lower().split("__"))
    section, key = _place(words)
    if variable.endswith(FILE_SUFFIX) and key not in _keys(section):
        try:
            text = Path(text).read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigRefused([f"{variable}: {text}: {why}"], "name a readable file") from error
        key = key.removesuffix(FILE_SUFFIX.lower())
    return Given(section, key, text, variable)


def of_override(override: str, called: str = OVERRIDE) -> Given:
    """Return what a text SECTION.KEY=VALUE sets; `called`: as its author knows it.

    Raises:
        ConfigRefused: it is none.
    """
    path, equals, text = override.partition("=")
    words = tuple(path.split("."))
    if not equals or len(words) < 2 or not all(words):
        raise ConfigRefused(
            [f'{called} "{override}" is not SECTION.KEY=VALUE'],
            "write, for example: -X node.data_dir=/srv/tidelog",
        )
    return Given(*_place(words), text, called)


def _place(words: Sequence[str]) -> tuple[str, str]:
    """Return section and key of nested names; Kafka's names have dots of their own."""
    if words[0] == TOPIC_DEFAULTS:
        return TOPIC_DEFAULTS, ".".join(words[1:])
    for size in range(min(len(words) - 1, SECTION_WORDS_MAX), 0, -1):
        section = ".".join(words[:size])
        if section in SECTIONS:
            return section, ".".join(words[size:])
    return ".".join(words[:-1]), words[-1]


def _leaves(
    table: Mapping[str, object], above: tuple[str, ...], *, where: str
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path and the text of each value of a TOML document."""
    for name, value in table.items():
        words = (*above, *(name.split(".") if above[:1] == (TOPIC_DEFAULTS,) else (name,)))
        if isinstance(value, dict):
            yield from _leaves(value, words, where=where)
        elif isinstance(value, bool):
            yield words, str(value).lower()
        elif isinstance(value, int | str):
            yield words, str(value)
        else:
            kind = type(value).__name__
            raise ConfigRefused(
                [f"{where}: {'.'.join(words)} is a {kind}"],
                'values are text, whole numbers, true and false; sizes and times are "64MiB", "7d"',
            )


def _assembled(given: Sequence[Given], *, allow_unknown: bool) -> Loaded:
    values: dict[str, dict[str, Value]] = {section: {} for section in SECTIONS}
    topic_defaults: dict[str, str] = {}
    origins: dict[tuple[str, str], str] = {}
    problems: list[str] = []
    unknown: list[str] = []
    for one in given:
        section, key, text, origin = one
        if key not in _keys(section):
            near = unknown_name(section, key) if len(unknown) < SUGGESTIONS_MAX else None
            unknown.append(f"{origin}: {near or _no_such(section, key)}")
            continue
        try:
            if section == TOPIC_DEFAULTS:
                check_default(key, text)
                topic_defaults[key] = text
            else:
                values[section][key] = parse(DECLARED[section][key], text)
        except (ValueError, RequestError) as refused:
            detail = refused.detail if isinstance(refused, RequestError) else str(refused)
            problems.append(f"{origin}: {section}: {detail}")
            continue
        origins[section, key] = origin
    if not allow_unknown:
        problems += unknown
    if (more := len(problems) - PROBLEMS_MAX) > 0:
        problems[PROBLEMS_MAX:] = [f"and {more} more"]
    settings = _constructed(values, topic_defaults, problems=problems)
    if problems or settings is None:
        anyway = "" if allow_unknown or not unknown else "; --allow-unknown starts all the same"
        raise ConfigRefused(problems, f"see: tidelog config show --defaults{anyway}")
    return Loaded(settings, origins, tuple(unknown))


def _constructed(
    values: Mapping[str, Mapping[str, Value]],
    topic_defaults: Mapping[str, str],
    *,
    problems: list[str],
) -> NodeSettings | None:
    """Return the tree, or None and why not in `problems`."""
    sections: dict[str, object] = {}
    for section, (field_name, cls) in SECTIONS.items():
        try:
            sections[field_name] = cls(**values[section])
        except ValueError as refused:
            problems.append(f"{section}: {refused}")
    if problems:
        return None
    defaults = MappingProxyType(dict(topic_defaults))
    return NodeSettings(**sections, topic_defaults=defaults)  # type: ignore[arg-type]  # by SECTIONS


def unknown_name(section: str, key: str) -> str | None:
    """Return what to say of a name that is not known, with the likeliest one that was meant."""
    if key in _keys(section):
        return None
    known = [f"{one}.{name}" for one in (*SECTIONS, TOPIC_DEFAULTS) for name in _keys(one)]
    path = f"{section}.{key}"
    near = did_you_mean(path, known) or did_you_mean(key, _keys(section))
    if near is not None and "." not in near:
        near = f"{section}.{near}"
    return _no_such(section, key) + (f'; did you mean "{near}"?' if near else "")


def _no_such(section: str, key: str) -> str:
    return f"there is no setting {section}.{key}"


def _keys(section: str) -> Sequence[str]:
    if section == TOPIC_DEFAULTS:
        return (*SERVED, *ALIASES)
    return tuple(DECLARED.get(section, ()))


class Row(NamedTuple):
    """One setting in force."""

    setting: str
    value: str
    origin: str
    about: str


def rows_of(loaded: Loaded) -> list[Row]:
    """Return every setting, its value as it is written in a file, and its origin."""
    rows = []
    for section, (field_name, cls) in SECTIONS.items():
        part = getattr(loaded.settings, field_name)
        for one in fields(cls):
            declaration = DECLARED[section][one.name]
            value = show(getattr(part, one.name), declaration.setting.unit)
            if declaration.setting.secret and value:
                value = HIDDEN
            origin = loaded.origin(section, one.name)
            rows.append(Row(f"{section}.{one.name}", value, origin, declaration.setting.doc))
    for name, text in loaded.settings.topic_defaults.items():
        about = SERVED[ALIASES.get(name, name)].setting.doc
        origin = loaded.origin(TOPIC_DEFAULTS, name)
        rows.append(Row(f"{TOPIC_DEFAULTS}.{name}", text, origin, about))
    return rows
