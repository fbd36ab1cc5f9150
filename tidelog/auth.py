"""Who the client is: how it proves that to a node. Over TLS only (`tidelogs://`)."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Auth:
    """A way to prove who is asking; made by `Auth.password`, `Auth.bearer` or `Auth.mtls`."""

    header: Callable[[], str] | None = field(default=None, repr=False)
    """Gives the value of the call metadata `authorization`, anew for every call."""
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)
    """The client's key and certificate chain, PEM."""

    @staticmethod
    def password(user: str, password: str) -> "Auth":
        """Return the proof by user and password."""
        text = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        return Auth(header=lambda: f"Basic {text}")

    @staticmethod
    def bearer(token: str | Callable[[], str]) -> "Auth":
        """Return the proof by a token; a callable gives a fresh one for every call."""
        return Auth(header=lambda: f"Bearer {token if isinstance(token, str) else token()}")

    @staticmethod
    def mtls(certificate: bytes, key: bytes) -> "Auth":
        """Return the proof by a client certificate: chain and key, PEM."""
        return Auth(certificate=(key, certificate))
