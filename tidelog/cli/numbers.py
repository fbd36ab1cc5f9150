"""How large a number on the command line may be: as large as the API can carry it."""

from typing import Final

import click

INT32_MAX: Final = (1 << 31) - 1
OFFSET_MAX: Final = (1 << 63) - 1

NUMBERED: Final = click.IntRange(0, INT32_MAX)
"""A partition or a node, by its number."""
COUNT: Final = click.IntRange(1, INT32_MAX)
"""So many partitions or replicas."""
OFFSET: Final = click.IntRange(0, OFFSET_MAX)
"""Of a record."""
DISTANCE: Final = click.IntRange(1, OFFSET_MAX)
"""So many offsets from an end of the log."""
