"""The anomalies by name: what each means, and which promise is broken; whatever else is counted."""

from typing import Final, NamedTuple


class Rule(NamedTuple):
    """An anomaly that must never be seen."""

    meaning: str
    promise: str


RULES: Final = {
    "duplicate": Rule("one value of an idempotent producer lies at two offsets", "P20"),
    "inconsistent-offset": Rule("one offset holds two values", "P9"),
    "lost-write": Rule("an acknowledged value is not where readers have passed", "P1"),
    "unseen": Rule("an acknowledged value was read by nobody though all was read", "P1"),
    "moved": Rule("a value lies elsewhere than its acknowledgement says", "P10"),
    "reordered": Rule("a producer's values do not lie in the order of sending", "P11"),
    "nonmonotonic-send": Rule("a later send was acknowledged at a lower offset", "P11"),
    "send-below-ack": Rule(
        "a send that began after an acknowledgement got an offset that is not above it", "P9"
    ),
    "read-of-failed": Rule("a value was read whose send was not done for certain (G1a)", "P4"),
    "phantom": Rule("a value was read that its producer had not sent", "P9"),
    "garbled": Rule("bytes were read that nobody has sent", "P6"),
    "nonmonotonic-poll": Rule("a reader was led back", "P12"),
    "int-nonmonotonic-poll": Rule("a reader was led back inside one operation", "P12"),
    "poll-skip": Rule("a reader was led past a record", "P12"),
    "int-poll-skip": Rule("a reader was led past a record inside one operation", "P12"),
    "hw-back": Rule("a reader was shown a lower high watermark than before", "P12"),
    "lso-back": Rule("a reader was shown a lower last stable offset than before", "P24"),
    "log-start-back": Rule("a reader was shown a lower log start than before", "P38"),
    "epoch-back": Rule("leader epochs fall, along the log or in what a node tells", "P16"),
    "two-leaders": Rule("one leader epoch has two leaders", "P19"),
    "ack-not-shown": Rule(
        "a leader shows less than was visible, in its epoch or before, when it was asked", "P13"
    ),
    "divergence": Rule("a reader was told to undo though no election was lossy", "P14"),
    "append-time-back": Rule("append times fall along the log", "P39"),
    "append-time-changed": Rule("one record was shown with two append times", "P37"),
    "time-before": Rule("a time query found a record before the time", "P36"),
    "time-skip": Rule("a time query left out a record", "P36"),
    "stale-commit": Rule("a group's offset was answered older than one acknowledged before", "P28"),
    "invented-commit": Rule("a group's offset was answered that nobody had committed", "P28"),
    "commit-back": Rule("a lower commit was acknowledged after a higher one", "P28"),
    "stale-start": Rule("a member began before what its predecessors had committed", "P28"),
    "group-gap": Rule("a group's offset lies beyond what its members were given", "P12"),
    "group-unseen": Rule("a group was not given everything though it has read all", "P12"),
    "two-owners": Rule("two members were given a partition in one epoch", "P29"),
    "stale-owner": Rule("a commit was taken from who held a partition before another", "P29"),
    "group-epoch-back": Rule("a member was told a lower epoch than before", "P29"),
    "stuck": Rule("no progress within the limit though nothing was broken", "P51"),
    "wrong-exit": Rule("a process ended as none may", "exit codes"),
}  # fmt: skip
