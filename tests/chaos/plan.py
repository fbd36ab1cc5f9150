"""Names and sizes that the run, its members and its judge share."""

from typing import Final

GROUP: Final = "crowd"
TOPIC: Final = "orders"
PARTITIONS: Final = 120
"""Two or three for each of 50 members: there is always something to keep."""
SESSIONS_MS: Final = (4_000, 6_000, 8_000)
"""Session timeouts that members choose from."""
BEAT_S: Final = 0.2
"""A member commits, or says that it lives, so often."""
KILLED_MS: Final = 3_000
"""A killed member's partitions are served again within it."""
SILENT_EXTRA_MS: Final = 1_000
"""A silent one's within its session timeout and this."""
KEPT_STALL_MS: Final = 1_000
"""What a member keeps is delivered within it of its acknowledgement, whoever stops."""


def value_of(partition: int, offset: int) -> bytes:
    """Return the value of a record: it says where it belongs."""
    return b"%d/%d;" % (partition, offset) + b"x" * (offset * 31 % 180)
