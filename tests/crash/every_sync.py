"""A script in which each sync is needed: the sweep leaves out one after the other."""

from model.ids import LeaderEpoch
from tests.crash.driver import ASYNC, WIDE, Driver
from tests.crash.partitions import TURNER, A, B, C, D


def _turn(log: Driver) -> None:
    """Let the journal go on to its next file, and so overwrite what the last checkpoint freed."""
    turns = log.turns
    while log.turns == turns:
        log.append(TURNER, 1500)
        log.file()
    log.tick()


def every_sync(log: Driver) -> None:
    """Each kind of sync, and behind each something that would be lost for want of it.

    Checkpoints that only save work at the next start would need no sync: between any two of these
    the journal comes round, and no other checkpoint makes up for a sync that was left out.
    """
    _first_rows(log)
    _written_with_care(log)
    _taken_away(log)
    _lives(log)


def _first_rows(log: Driver) -> None:
    """The first checkpoints: of partitions that hold nothing, little, or what is asynchronous."""
    log.create(A, B, TURNER)  # B stays empty: only the checkpoint knows of it
    log.append(A, 40)
    for _ in range(3):
        log.append(TURNER, 3000)
        log.file()
    log.checkpoint()
    _turn(log)
    log.create(C, settings=ASYNC)
    log.create(D, settings=WIDE)
    log.append(A, 500, 400)
    log.append(B, 30)
    log.append(D, 10)
    log.file()
    log.checkpoint()
    _turn(log)


def _written_with_care(log: Driver) -> None:
    """A direct run, asynchronous batches, the clock and the identity."""
    log.append(C, 300)
    log.append(D, 5000)
    log.append(A, 600)
    log.register()
    log.reserve_clock(10_000)
    log.round()
    log.tick()
    log.append(C, 500)
    log.append(D, 60)
    log.file()
    log.checkpoint()
    _turn(log)


def _taken_away(log: Driver) -> None:
    """A truncation, then a trim of all that there is."""
    log.epoch = LeaderEpoch(1)
    log.append(A, 500, 600, 700)
    log.append(D, 70)
    log.round()
    log.truncate(D, log.log(D).log_end - 2)  # one of them is in a checkpoint
    log.settle(D)
    log.file()
    log.checkpoint()
    log.append(D, 80, 80)  # beyond where a snapshot was that went with the truncation
    log.file()
    _turn(log)
    log.log(A).roll()
    log.trim(A, log.log(A).log_end)
    log.trim(TURNER, log.log(TURNER).log_end - 2)
    log.checkpoint()
    _turn(log)


def _lives(log: Driver) -> None:
    """Killed, and started; stopped, and started; a partition is deleted in between."""
    log.append(A, 90)
    log.append(B, 90)
    log.append(C, 90)
    log.round()
    log.restart()
    log.append(A, 90)
    log.delete(D)
    log.round()
    _turn(log)
    log.committed(A)  # the snapshot that is made of A now is the only one that stays
    log.checkpoint()
    _turn(log)
    log.append(A, 90)
    log.append(B, 90)
    log.append(C, 90)
    log.round()
    log.trim(TURNER, log.log(TURNER).log_end - 2)  # what the stop removes, the old rows speak of
    log.stop()
    log.restart()
    log.append(A, 90)
    log.round()
    _turn(log)
