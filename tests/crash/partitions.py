"""The partitions that scripts write to."""

from typing import Final

from tests.crash.driver import partition

A, B, C, D = partition(0), partition(1), partition(0, topic=2), partition(1, topic=2)
TURNER: Final = partition(0, topic=4)
"""What makes the journal go round."""
MANY: Final = [partition(number, topic=3) for number in range(24)]
