"""What the store is made to do before it crashes; each script is short, and drawn from a seed.

Every script begins on a directory that a node left cleanly, with a few records in it; only the
first start begins with nothing.
"""

from collections.abc import Callable
from typing import Final

from model.ids import LeaderEpoch
from tests.crash.driver import ASYNC, WIDE, Driver
from tests.crash.every_sync import every_sync
from tests.crash.partitions import MANY, A, B, C, D


def prepare(log: Driver) -> None:
    """Leave two partitions with a few records."""
    log.create(A, B)
    log.append(A, *(log.rand.randrange(20, 60) for _ in range(3)))
    log.append(B, log.rand.randrange(20, 200))
    log.round()
    log.stop()


def unsettle(log: Driver) -> None:
    """Go on with what `prepare` has left, until the power goes; nothing is trimmed."""
    for _ in range(log.rand.randrange(4, 14)):
        each = (A, B)[log.rand.randrange(2)]
        match log.rand.randrange(8):
            case 0:
                log.truncate(each, max(2, log.log(each).log_end - log.rand.randrange(1, 4)))
                log.settle(each)
            case 1:
                log.epoch = LeaderEpoch(log.epoch + 1)
            case 2:
                log.checkpoint()
            case 3:
                log.tick()
            case _:
                log.append(each, *(log.rand.randrange(1, 300) for _ in range(2)))
        if log.rand.randrange(2):
            log.round()


def first_start(log: Driver) -> None:
    """An empty directory, its first partition, its first records, its first clean stop."""
    log.create(A)
    log.append(A, log.rand.randrange(1, 300))
    log.round()
    log.tick()
    log.append(A, log.rand.randrange(1, 900))
    log.stop()


def commit_rounds(log: Driver) -> None:
    """Rounds of one partition, with what comes in while one is being written."""
    for _ in range(4):
        log.append(A, *(log.rand.randrange(1, 260) for _ in range(log.rand.randrange(1, 4))))
        if log.rand.randrange(2):
            log.tick()
        if log.rand.randrange(2):
            log.round()
        else:
            log.round_with(lambda: log.append(A, log.rand.randrange(1, 100)))
    log.round()


def many_partitions(log: Driver) -> None:
    """Rounds over 24 partitions, made in the first."""
    log.create(*MANY)
    for each in MANY:
        log.append(each, log.rand.randrange(1, 90))
    log.round()
    log.tick()
    log.checkpoint()
    for each in MANY[::3]:
        log.append(each, log.rand.randrange(1, 300))
    log.round()


def direct_runs(log: Driver) -> None:
    """Runs that are too large for the journal go to their own file, beside small ones."""
    log.append(A, 900, 900, 900, log.rand.randrange(1400, 2000))
    log.append(B, log.rand.randrange(1, 60))
    log.round()
    log.tick()
    log.append(A, log.rand.randrange(20, 50))
    log.round()
    log.append(B, log.rand.randrange(4100, 5000))
    log.round()
    log.checkpoint()


def direct_runs_to_new_files(log: Driver) -> None:
    """The file of a large run, and its directory, are as new as the run, or little older."""
    log.create(C, D, settings=WIDE)
    log.append(C, log.rand.randrange(4100, 5000))
    log.append(D, log.rand.randrange(1, 90))
    log.round()
    log.tick()
    log.append(D, log.rand.randrange(4100, 5000))
    log.round()
    log.log(C).roll()
    log.append(C, log.rand.randrange(1, 90))
    log.round()
    log.append(C, log.rand.randrange(4100, 5000))
    log.round()
    log.checkpoint()


def roll(log: Driver) -> None:
    """Segments roll; append times are folded into `.times` by checkpoints."""
    for _ in range(3):
        for _ in range(3):
            log.append(A, log.rand.randrange(200, 420))
            log.tick()
        log.round()
        log.checkpoint(every=bool(log.rand.randrange(2)))
    log.log(A).roll()
    log.append(A, log.rand.randrange(1, 60), records=3)
    log.round()


def recycle(log: Driver) -> None:
    """The journal comes round; checkpoints fall before, behind and inside of rounds."""
    for number in range(14):
        log.append(A, log.rand.randrange(900, 2400))
        log.append(B, log.rand.randrange(900, 1200))
        log.tick()
        log.round()
        if number % 4 == 3:
            log.append(B, log.rand.randrange(1, 400))
            log.checkpoint_with(log.round)


def truncate(log: Driver) -> None:
    """A follower takes back what it has, journaled, filed or only accepted, and goes on."""
    log.append(A, *(log.rand.randrange(100, 400) for _ in range(5)))
    log.round()
    log.truncate(A, log.log(A).log_end - log.rand.randrange(1, 3))
    log.settle(A)
    log.append(A, log.rand.randrange(1, 300))
    log.round()
    log.checkpoint()
    log.tick()
    log.append(A, log.rand.randrange(1, 300))
    log.truncate(A, log.rand.randrange(1, 3))
    log.settle(A)
    log.epoch = LeaderEpoch(log.epoch + 1)
    log.append(A, log.rand.randrange(1, 300))
    log.round()
    log.truncate(B, 0)
    log.round()


def truncate_below_the_row(log: Driver) -> None:
    """Batches that a checkpoint covers go, with those that came behind it into the same segment."""
    log.create(C, settings=WIDE)
    for _ in range(3):
        log.append(C, *(log.rand.randrange(1, 90) for _ in range(4)))
        log.file()
        log.checkpoint()
        log.append(C, *(log.rand.randrange(1, 90) for _ in range(3)))
        log.file()
        log.truncate(C, log.log(C).log_end - log.rand.randrange(4, 6))
        while log.log(C).cut is not None:
            log.commit()  # no checkpoint comes before the next one above
        log.tick()


def delete(log: Driver) -> None:
    """A partition goes, another comes, and the journal still speaks of the first."""
    log.append(A, log.rand.randrange(100, 400), log.rand.randrange(100, 900))
    log.append(B, log.rand.randrange(1, 90))
    log.round()
    log.delete(A)
    log.create(C)
    log.append(C, log.rand.randrange(1, 300))
    log.round()
    log.append(B, log.rand.randrange(1, 90))
    log.round()
    log.checkpoint()
    log.delete(C)
    log.round()
    log.checkpoint()


def retention(log: Driver) -> None:
    """The log start moves; files go once a checkpoint says so."""
    for _ in range(4):
        log.append(A, log.rand.randrange(500, 800))
        log.tick()
    log.round()
    log.trim(A, log.log(A).log_end - 2)
    log.checkpoint()
    log.append(A, log.rand.randrange(500, 800))
    log.round()
    log.trim(A, log.log(A).log_end)
    log.trim(B, 1)
    log.checkpoint()
    log.append(A, log.rand.randrange(1, 90))
    log.round()


def forgotten_segments(log: Driver) -> None:
    """Producers of which no segment tells any more, and checkpoints while more is on its way."""
    for _ in range(3):
        log.append(A, log.rand.randrange(500, 800))
    log.file()
    log.trim(A, log.log(A).log_end - 1)
    log.checkpoint()
    for _ in range(2):
        log.append(A, log.rand.randrange(1, 90))
        log.commit()
        log.checkpoint()
    log.log(A).roll()
    log.append(A, log.rand.randrange(1, 90))
    log.round()
    log.checkpoint()


def asynchronous(log: Driver) -> None:
    """Batches that are only written, among others that are synced; the checkpoint counts."""
    log.create(C, settings=ASYNC)
    for _ in range(3):
        log.append(C, log.rand.randrange(1, 400), log.rand.randrange(1, 300))
        log.append(A, log.rand.randrange(1, 90))
        log.round()
        log.tick()
        log.append(C, log.rand.randrange(300, 500))
        log.round()
        log.checkpoint()
    log.append(C, log.rand.randrange(1, 400))
    log.round()
    log.truncate(C, log.log(C).log_end - 2)
    log.round()


def clock(log: Driver) -> None:
    """Append times are reserved, with and without anything to append."""
    log.reserve_clock(10_000)
    log.round()
    log.append(A, log.rand.randrange(1, 90))
    log.reserve_clock(20_000)
    log.round()
    log.checkpoint()
    log.reserve_clock(30_000)
    log.round()


def leaders(log: Driver) -> None:
    """Leaders change, and what the last one had not committed is cut off, here and after starts."""
    log.create(C)
    for _ in range(3):
        for each in (A, C):
            for _ in range(log.rand.randrange(1, 4)):
                log.append(each, log.rand.randrange(1, 200))
            log.epoch = LeaderEpoch(log.epoch + 1)
            log.append(each, log.rand.randrange(1, 200), log.rand.randrange(1, 90))
        log.round()
        if log.rand.randrange(2):
            log.checkpoint()
        log.truncate(A, log.log(A).log_end - log.rand.randrange(1, 4))
        log.settle(A)
        if log.rand.randrange(2):
            log.restart()
        log.epoch = LeaderEpoch(log.epoch + 1)
        log.append(A, *(log.rand.randrange(1, 60) for _ in range(4)))
        log.round()


def restarts(log: Driver) -> None:
    """A process is killed and goes on, again and again: what it recovers is where it begins."""
    log.create(C, settings=ASYNC)
    for _ in range(3):
        log.append(A, log.rand.randrange(1, 600), log.rand.randrange(1, 300))
        log.append(C, log.rand.randrange(1, 300))
        log.round()
        if log.rand.randrange(2):
            log.checkpoint(every=False)
        if log.rand.randrange(2):
            log.log(A).roll()
        log.tick()
        log.append(A, log.rand.randrange(1, 300))
        log.append(C, log.rand.randrange(1, 600))
        if log.rand.randrange(2):
            log.round()
        log.restart()


def emptied(log: Driver) -> None:
    """All records go, once in an active segment and once with it; the epoch is remembered."""
    for _ in range(2):
        log.epoch = LeaderEpoch(log.epoch + 1)
        log.append(A, log.rand.randrange(300, 600), log.rand.randrange(300, 600))
        log.append(B, log.rand.randrange(1, 90))
        log.round()
        log.checkpoint()
    log.truncate(A, log.log(A).log_end - 1)
    log.settle(A)
    log.trim(A, log.log(A).log_end)
    log.trim(B, log.log(B).log_end)
    log.checkpoint()
    log.restart()
    log.append(B, log.rand.randrange(1, 90))
    log.round()


def clean_stop(log: Driver) -> None:
    """Work, and a clean stop."""
    log.append(A, log.rand.randrange(1, 900))
    log.append(B, log.rand.randrange(1, 90))
    log.round()
    log.trim(A, 1)
    log.append(B, log.rand.randrange(1, 90))
    log.stop()


def endless(log: Driver) -> None:
    """Everything at random, until the power goes; no partition is deleted."""
    log.create(A, B)
    log.create(C, settings=ASYNC)
    while True:
        each = (A, A, B, C)[log.rand.randrange(4)]
        its = log.log(each)
        match log.rand.randrange(30):
            case 0:
                log.truncate(each, max(its.log_start, its.log_end - log.rand.randrange(1, 4)))
                log.settle(each)
            case 1:
                log.trim(each, its.log_start + (its.written_end - its.log_start) // 2)
            case 2 | 3:
                log.checkpoint()
            case 4:
                its.roll()
            case 5:
                log.append(each, log.rand.randrange(4000, 9000))
            case 6 | 7 | 8:
                log.tick()
            case _:
                log.append(each, *(log.rand.randrange(1, 500) for _ in range(2)))
        if log.rand.randrange(2):
            log.round()


Script = Callable[[Driver], None]
DISK_FULL: Final = "disk full"
WORKLOADS: Final[dict[str, Script]] = {
    script.__name__: script
    for script in (
        first_start,
        commit_rounds,
        many_partitions,
        direct_runs,
        direct_runs_to_new_files,
        roll,
        recycle,
        truncate,
        truncate_below_the_row,
        delete,
        retention,
        forgotten_segments,
        asynchronous,
        clock,
        leaders,
        restarts,
        emptied,
        every_sync,
        clean_stop,
    )
}
SWEPT: Final = ("every_sync", "commit_rounds")
"""Scripts of which each sync is left out in turn."""
FROM_NOTHING: Final = ("first_start", "every_sync")
"""Scripts that begin in an empty directory."""
