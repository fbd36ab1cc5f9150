"""Names, sizes and limits that the run of three nodes, its clients and its verdict share."""

from enum import StrEnum
from typing import Final

TOPIC: Final = "orders"
PARTITIONS: Final = 24
REPLICAS: Final = 3
NUMBERS: Final = (1, 2, 3)
GROUP: Final = "crowd"
"""Its members come with the SDK: Kafka's protocol of groups is not there yet."""
WRITERS: Final = 2
"""Producers at each door."""
MEMBERS: Final = 2
"""Of the group."""
READERS: Final = 2
"""Of librdkafka, without a group."""
VALUE_BYTES: Final = 60
RUN: Final = "run"
"""The client of a history that stands for the run itself."""
READS_ALL: Final = "reads-all"
"""The client of a history that reads the whole topic when everything is over."""
WRITER: Final = "w-"
"""Begins the names of producers: `w-sdk-1`, and `w-sdk-1-2` once it had to begin anew."""


class Kind(StrEnum):
    """What is done to the nodes."""

    KILLS = "kills"
    PAUSES = "pauses"
    CUTS = "cuts"
    POWER_CUTS = "power-cuts"


BACK_S_MAX: Final = {Kind.KILLS: 5.0, Kind.PAUSES: 10.0, Kind.CUTS: 10.0, Kind.POWER_CUTS: 10.0}
"""P51: no partition is without acks for longer; a power cut counts from when the last is up."""
HEALED_S_MAX: Final = 60.0
"""Everything is as it was before, so long after nothing is broken any more."""
