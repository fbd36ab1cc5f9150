"""Real chance."""

import secrets


class SystemRand:
    """`model.ports.Rand` from the operating system's generator: ids and salts cannot be guessed."""

    def randrange(self, stop: int, /) -> int:
        """Return an integer in [0, stop)."""
        return secrets.randbelow(stop)

    def randbytes(self, size: int, /) -> bytes:
        """Return that many bytes."""
        return secrets.token_bytes(size)
