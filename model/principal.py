"""Who asks. Every use case takes one, from the first day, so that nothing is done for nobody."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity that a request acts under, and where it came from.

    `name` is what access rules and quotas speak of: proven by the door that the request came in
    by, never taken from the request itself. `host` is the peer's address without its port;
    `client_id` is what the client calls itself: for people, trusted for nothing, may be empty.
    """

    name: str
    host: str
    client_id: str


ANONYMOUS: Final = Principal(name="anonymous", host="", client_id="")
"""A client of a listener that asks for no proof. Doors put host and client id in with `replace`."""

INTERNAL: Final = Principal(name="internal", host="", client_id="")
"""The node itself: internal topics, background work. No door ever hands it to a client."""
