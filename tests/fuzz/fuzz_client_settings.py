"""Any text as what a user gives the client: its configuration file, addresses, -X, -c, -p."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tidelog.cli.client_settings import client_settings, host_and_port, of_bytes
from tidelog.cli.failure import Usage
from tidelog.cli.topic_change import numbers_of, settings_of
from tidelog.connection import parse_url

NOWHERE: Final = {"XDG_CONFIG_HOME": "/nonexistent"}
READS: Final = 6


def samples() -> list[bytes]:
    """Return what is right in each of the ways."""
    texts = (
        '[client]\naddress = "127.0.0.1:9095"\ntimeout_ms = 5000\n', "client.timeout_ms=100",
        "tidelog://a:1,b:2/", "tidelogs://[::1]:9095", "127.0.0.1:9095", "retention.ms=-1",
        "0,1, 2", "client.address=[::1]:80",
    )  # fmt: skip
    return [text.encode() for text in texts]


def fuzz(data: bytes) -> None:
    """Read the text in every way."""
    text = data.decode(errors="surrogateescape")  # as arguments come
    readers: tuple[Callable[[], object], ...] = (
        lambda: of_bytes(data, "config.toml"),
        lambda: client_settings([text], NOWHERE),
        lambda: client_settings([], {**NOWHERE, "TIDELOG_CLIENT__TIMEOUT_MS": text}),
        lambda: settings_of([text]),
        lambda: numbers_of(text),
    )
    for read in readers:
        with suppress(Usage):
            read()
    with suppress(Usage):
        host, port = host_and_port(text, "address")
        assert host
        assert 0 < port < 1 << 16
    with suppress(ValueError):
        for address in parse_url(text).hosts:
            assert parse_url(f"tidelog://{address}").hosts == (address,), "not what was read"
