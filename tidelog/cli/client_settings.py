"""Where a client finds a node, and where each value comes from.

A value is given, the first that there is, by `-X client.KEY=VALUE`, by the environment as
`TIDELOG_CLIENT__KEY`, by the file `$XDG_CONFIG_HOME/tidelog/config.toml` in its table `[client]`,
or by its default.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tidelog.cli.failure import Usage

SECTION: Final = "client"
LINE_BYTES_MAX: Final = 4_096
"""Of the file: tomllib takes the square of the time for a key of many dots."""
_DIGITS_MAX: Final = 9
_MEND: Final = "mend the file, or move it away"
PREFIX: Final = "TIDELOG_CLIENT__"


class Declared(NamedTuple):
    """One setting of a client."""

    default: str
    about: str


SETTINGS: Final = {
    "address": Declared(
        "127.0.0.1:9095", "gRPC address of any node, HOST:PORT; or several, with commas."
    ),
    "kafka_address": Declared("127.0.0.1:9092", "Kafka address of a node; for `doctor`."),
    "http_address": Declared("127.0.0.1:8080", "HTTP address of a node; `check`, `doctor`."),
    "timeout_ms": Declared("10000", "Give up on a call after so many milliseconds."),
}


class Value(NamedTuple):
    """A value and where it comes from."""

    text: str
    origin: str


def client_settings(
    overrides: Sequence[str], environment: Mapping[str, str], *, foreign_sections: bool = False
) -> dict[str, Value]:
    """Return every setting of a client.

    `foreign_sections`: leave overrides of other sections to whoever reads those.

    Raises:
        Usage: an unknown name, with the likeliest one that was meant, or an impossible value.
    """
    values = {name: Value(row.default, "default") for name, row in SETTINGS.items()}
    file = config_file(environment)
    for name, text in _of_file(file).items():
        values[_known(name, str(file))] = Value(text, str(file))
    for variable, text in environment.items():
        if variable.startswith(PREFIX):
            values[_known(variable.removeprefix(PREFIX).lower(), variable)] = Value(text, variable)
    for override in overrides:
        section, name, text = split_override(override)
        if section == SECTION:
            values[_known(name, f"-X {override}")] = Value(text, "-X")
        elif not foreign_sections:
            raise Usage(
                f"-X {override}: a client has no section [{section}]",
                hint=f"write -X {SECTION}.KEY=VALUE; the keys are {', '.join(SETTINGS)}",
            )
    _check(values)
    return values


def split_override(override: str) -> tuple[str, str, str]:
    """Return section, key and value of a `-X`.

    Raises:
        Usage: it is not of that shape.
    """
    path, equals, text = override.partition("=")
    section, dot, name = path.partition(".")
    if not (equals and dot and section and name):
        raise Usage(
            f'-X "{override}" is not SECTION.KEY=VALUE',
            hint="write, for example: -X client.address=127.0.0.1:9095",
        )
    return section, name, text


def config_file(environment: Mapping[str, str]) -> Path:
    """Return where the user's configuration lies; it need not exist."""
    base = environment.get("XDG_CONFIG_HOME") or str(
        Path(environment.get("HOME") or "~").expanduser() / ".config"
    )
    return Path(base) / "tidelog" / "config.toml"


def _of_file(path: Path) -> dict[str, str]:
    try:
        return of_bytes(path.read_bytes(), str(path))
    except FileNotFoundError:
        return {}
    except OSError as unreadable:
        raise Usage(f"{path}: {unreadable.strerror}", hint=_MEND) from unreadable


def of_bytes(file: bytes, path: str) -> dict[str, str]:
    """Return what the bytes of a configuration file set in its table `[client]`.

    Raises:
        Usage: they are no TOML, or longer in a line or nested deeper than any setting is.
    """
    longest = max(map(len, file.splitlines()), default=0)
    if longest > LINE_BYTES_MAX:
        raise Usage(f"{path}: a line of {longest} bytes, at most {LINE_BYTES_MAX}", hint=_MEND)
    try:
        content = tomllib.loads(file.decode("utf-8"))
    except ValueError as malformed:  # no UTF-8, or no TOML
        raise Usage(f"{path}: {malformed}", hint=_MEND) from malformed
    except RecursionError as deep:
        raise Usage(f"{path}: nested too deeply", hint=_MEND) from deep
    table = content.get(SECTION, {})
    if not isinstance(table, dict):
        raise Usage(f"{path}: {SECTION} is not a table", hint=f"write [{SECTION}]")
    return {str(name): str(value) for name, value in table.items()}


def _known(name: str, where: str) -> str:
    if name in SETTINGS:
        return name
    from difflib import get_close_matches  # noqa: PLC0415 - only for a wrong word

    near = get_close_matches(name, SETTINGS, n=1)
    meant = f"did you mean {SECTION}.{near[0]}? " if near else ""
    raise Usage(
        f"{where}: there is no setting {SECTION}.{name}",
        hint=f"{meant}the keys are {', '.join(SETTINGS)}",
    )


def _check(values: Mapping[str, Value]) -> None:
    """Refuse what cannot be an address or a time."""
    for name, (text, origin) in values.items():
        if name.endswith("address"):
            for one in addresses(text) if name == "address" else (text,):
                host_and_port(one, f"{SECTION}.{name} ({origin})")
        elif not (_is_number(text) and 0 < int(text) <= 3_600_000):
            raise Usage(
                f'{SECTION}.{name} ({origin}) is "{text}"',
                hint="write whole milliseconds, from 1 to 3600000",
            )


def _is_number(text: str) -> bool:
    """Tell whether it is digits, and no more of them than an int is made of in no time."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


def addresses(text: str) -> tuple[str, ...]:
    """Return the single addresses of nodes, the first of which is asked first."""
    return tuple(one.strip() for one in text.rpartition("://")[2].split(","))


def host_and_port(text: str, what: str) -> tuple[str, int]:
    """Return the two halves of an address.

    Raises:
        Usage: it has not two.
    """
    host, _, port = text.removeprefix("tidelog://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and "," not in host and _is_number(port) and 0 < int(port) < 65_536):
        raise Usage(f'{what} is "{text}"', hint="write HOST:PORT, such as 127.0.0.1:9095")
    return host, int(port)
