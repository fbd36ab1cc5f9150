"""When Python looks for garbage: seldom, and never again at what a start has made.

Nearly all is freed by counting references. Only what refers to itself in a circle waits until the
collector looks, and a look at everything stops the loop for as long as there is much: with 1,000
connections on 1,000 partitions 106 ms for each second of load, by Python's own thresholds, and it
finds nothing. So what a node makes for each request and each client is made without circles, and
the collector is there for those that were overlooked, and for libraries.

What is young is looked at as ever. What has outlived that waits until some 20 million objects have
been made beyond those that were freed: ten minutes of that load, and never on a node at rest.
So garbage is bounded by what lies in circles of what is let go of between two such looks. A client
that has gone left 13 objects and 3 KB before its circle was cut: with that, 20 million objects more
than were freed would have been 1.5 million clients. Now nothing grows: the same load, then a
thousand clients gone, leave four objects to the collector.
"""

import gc
from typing import Final

THRESHOLDS: Final = (1_000, 20, 1_000)
"""Objects made and not freed before the youngest are looked at; looks at these before the next
generation is; looks at that one before everything is (gc.set_threshold)."""


def seldom_look_for_garbage() -> None:
    """Leave out all that is there from now on, and look seldom at the rest.

    Of the whole process, so for one that is the node's own. Nothing is looked at for the last time
    before: of the 120,000 objects of a fresh node none is garbage, and the look took 80 ms of CPU
    just when the first clients come. Without it this takes 4 us.
    """
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
