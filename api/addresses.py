"""Addresses as people write them in settings: HOST:PORT, and what a host stands for."""

from ipaddress import ip_address
from typing import Final

PORT_MAX: Final = 65_535


def check_address(name: str, text: str | None) -> None:
    """Accept HOST:PORT or nothing.

    Raises:
        ValueError: naming the setting and what is accepted.
    """
    if text is not None:
        try:
            split_address(text)
        except ValueError as wrong:
            raise ValueError(f"{name} = {text!r} is not HOST:PORT with a port to 65535") from wrong


def check_told(advertise: str | None) -> None:
    """Accept only what Kafka clients can connect to once they are told it.

    Raises:
        ValueError: naming the setting.
    """
    if advertise is not None:
        host, port = split_address(advertise)
        if port == 0 or is_every_address(host):
            raise ValueError(f"advertise = {advertise!r} is nowhere that a client can connect to")


def split_address(text: str) -> tuple[str, int]:
    """Return host and port; the host of `[::1]:9092` is `::1`.

    Raises:
        ValueError: it is no address.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("IPv6 addresses stand in brackets")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= PORT_MAX):
        raise ValueError("HOST:PORT")
    return host, int(port)


def is_address(host: str) -> bool:
    """Tell whether a host is an IP address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_every_address(host: str) -> bool:
    """Tell whether a host stands for all addresses of a machine: nobody can connect to that."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def reached_by(host: str, machine: str) -> str:
    """Return by which host others reach what is bound to one; `machine`: the name of this host."""
    return machine if is_every_address(host) else host


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host. Names other than localhost are not trusted."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
