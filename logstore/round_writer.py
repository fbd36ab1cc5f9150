"""What the writer thread does: one commit round after the other.

Order matters, and is the whole of a round's safety:

1. what the journal of earlier rounds has goes to its files, without a sync: a crash replays it;
2. direct runs go to their files, which are synced: the entries that speak of them come later;
3. the journal is written: from here on a kill loses nothing; and synced: nor does a power cut;
4. files are cut, and what no journal carries is written to them. The rest is put off to step 1 of a
   later round, for nobody waits for it: readers have the memory, recovery the journal.

A round is run in two halves, up to the sync of step 3 and from it on: where it takes long, somebody
may ask in between how far the round is.

A failure anywhere is StorageFailed. The directory is offline from then on; nothing is retried.
"""

from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
from typing import Final

from logstore.crc32c import crc32c
from logstore.epochs_file import forget_epochs
from logstore.journal import HEADER_BYTES, Slot
from logstore.journal_entry import (
    APPEND_BYTES,
    APPEND_KIND,
    AppendDirect,
    Buffer,
    ClockReserved,
    Delete,
    Place,
    Stamp,
    Truncate,
    encode,
    pack_append,
    sealed,
)
from logstore.paths import (
    GOING_FILES,
    INDEX,
    LOG,
    PARTITIONS,
    PRODUCERS,
    TIMES,
    by_offset,
    journal_file,
    parse_offset,
)
from logstore.producer_replay import replay_producers
from logstore.round import Carrier, Cut, CutDone, Part, Round, RoundResult, Run
from logstore.segment_loader import iter_headers
from logstore.times import ROW_BYTES, decode_row
from model.errors import StorageFailed
from model.ids import AppendTimeMs, Offset, PartitionId, Position
from model.ports import Disk, File

# Bound here, for Python 3.11 looks a member of an Enum up in 0.2 us, once for each partition.
_JOURNAL: Final = Carrier.JOURNAL
_DIRECT: Final = Carrier.DIRECT
_FILES: Final = Carrier.FILES

GATHERED_MAX: Final = 512
"""With more buffers than that, copying them costs less than their way through the kernel."""
SET_ASIDE: Final = ".aside"
"""Ends the name of a directory that held data nothing knew of."""


class RoundWriter:
    """Executes rounds. Whoever runs the round has it: mostly the writer thread, one at a time."""

    def __init__(self, disk: Disk, *, journal_bytes: int, open_files_max: int) -> None:
        """Begin with no file open."""
        self._disk = disk
        self._journal_bytes = journal_bytes
        self._open_files_max = open_files_max
        self._files: dict[str, File] = {}
        self._journal: tuple[int, File] | None = None
        self._named: set[str] = set()
        """Files whose names were made durable here, before any checkpoint did it."""
        self._doing = ""
        self._failed = False

    def write(self, work: Round) -> RoundResult:
        """Write a round up to its journal entries; `sync` goes on with what this returns.

        Raises:
            StorageFailed: the disk refused; the same for every later call.
        """
        return self._run(self._write, RoundResult(work, [], {}, [], []))

    def sync(self, written: RoundResult) -> RoundResult:
        """Sync the round that was just written, and do what may be done only then.

        Raises:
            StorageFailed: as `write` does.
        """
        return self._run(self._sync, written)

    def _run(self, half: Callable[[RoundResult], None], result: RoundResult) -> RoundResult:
        if self._failed:
            raise StorageFailed("journal", 5, "write after a failure to")
        try:
            half(result)
        except OSError as error:
            self._failed = True
            raise StorageFailed(self._doing, error.errno or 5, "write") from error
        return result

    def _write(self, result: RoundResult) -> None:
        work = result.round
        for name in work.forget:
            self._files.pop(name, None)
            self._named.discard(name)
        for runs in work.filing:
            self._file_runs(runs)
        # All others, which are nearly all, have nothing but runs for the journal.
        special = [p for p in work.parts if p.at_once or p.delete or p.make_directory]
        result.special = special
        for part in special:
            if part.make_directory:
                self._make_directory(part, result)
        checksums = self._write_direct(special)
        if work.slot is not None:
            self._write_journal(work, work.slot, checksums)

    def _sync(self, result: RoundResult) -> None:
        if self._journal is not None and result.round.slot is not None:
            self._doing = journal_file(self._journal[0])
            # SYNC: what an acknowledgement with flush=quorum stands on.
            self._journal[1].fdatasync()
        for part in result.special:
            if part.at_once:
                self._write_files(part)
            if part.cut is not None:
                result.cuts[part.partition] = self._cut(part.cut)
            if part.delete:
                self._forget(part)

    def _make_directory(self, part: Part, result: RoundResult) -> None:
        """Make a partition's directory; what lies there already is nobody's: it is kept aside.

        Its name is durable with the partition's first checkpoint. Before that only the journal
        carries its records, and replay makes the directory again.
        """
        name = self._doing = part.make_directory
        if not self._disk.make_directory(name) and self._disk.list(name):
            number = 1 + sum(SET_ASIDE in other for other in self._disk.list(PARTITIONS))
            aside = f"{name}{SET_ASIDE}{number}"
            self._disk.rename(name, aside)
            self._disk.make_directory(name)
            result.set_aside.append(aside)
        result.created.append(part.partition)

    def _write_direct(self, parts: list[Part]) -> dict[int, int]:
        """Write and sync the runs that skip the journal; return their checksums by `id`."""
        checksums: dict[int, int] = {}
        synced: dict[str, File] = {}
        unnamed: dict[str, None] = {}
        for part in parts:
            for run in part.runs:
                if run.carrier is not _DIRECT:
                    continue
                file = self._file(run.log_name)
                file.pwrite(run.buffers, run.position)
                file.begin_sync(run.size_bytes, run.position)
                crc = 0
                for buffer in run.buffers:
                    crc = crc32c(buffer, crc)
                checksums[id(run)] = crc
                synced[run.log_name] = file
                if run.log_name not in self._named and not run.named:
                    unnamed[run.log_name.rpartition("/")[0]] = None
                    self._named.add(run.log_name)
        for name, file in synced.items():
            self._doing = name
            # SYNC: the journal holds only the checksum of these bytes.
            file.fdatasync()
        for directory in unnamed:
            self._doing = directory
            # SYNC: the entry speaks of bytes in a file whose name must survive with it. The file
            # may be older than the run: what the journal carried into it needed no name.
            self._disk.sync_directory(directory)
        return checksums

    def _write_journal(self, work: Round, slot: Slot, checksums: dict[int, int]) -> None:
        """Write the entries of the round, with one call."""
        buffers: list[Buffer] = [slot.header] if slot.header else []
        buffers += _encoded(work, checksums, salt=slot.salt)
        name = self._doing = journal_file(slot.number)
        if self._journal is None or self._journal[0] != slot.number:
            self._journal = (slot.number, self._disk.open(name))
        file = self._journal[1]
        if slot.header:
            file.pwrite([slot.header], Position(self._journal_bytes - HEADER_BYTES))
        if len(buffers) > GATHERED_MAX:
            buffers = [b"".join(buffers)]
        file.pwrite(buffers, Position(slot.position - len(slot.header)))

    def _file_runs(self, runs: list[Run]) -> None:
        """Write runs of one partition, of several rounds maybe, with one call for each file."""
        if len(runs) == 1:
            self._file(runs[0].log_name).pwrite(runs[0].buffers, runs[0].position)
            return
        for name, group in groupby(runs, key=attrgetter("log_name")):
            following = list(group)
            buffers = [buffer for run in following for buffer in run.buffers]
            self._file(name).pwrite(buffers, following[0].position)

    def _write_files(self, part: Part) -> None:
        """Write what the journal carries, or nothing does, to the partition's files."""
        for name, position, content in part.times:
            # Before the batches: those that a kill leaves behind have their append time.
            self._file(name).pwrite([content], Position(position))
        for run in part.runs:
            if run.carrier is not _DIRECT:
                self._file(run.log_name).pwrite(run.buffers, run.position)

    def _cut(self, cut: Cut) -> CutDone:
        """Cut the files of a partition; the TRUNCATE is durable, the next checkpoint syncs this."""
        self._forget_directory(cut.directory)
        self._doing = cut.directory
        # First: the index that goes with the cut leads to where reading begins.
        producers = None if cut.replay is None else replay_producers(self._disk, cut.replay)
        return cut_files(self._disk, cut)._replace(producers=producers)

    def _forget(self, part: Part) -> None:
        """Hold no file of a partition open that goes, or whose names may be used again."""
        self._forget_directory(f"{PARTITIONS}/{part.partition.topic.hex()}-{part.partition.number}")

    def _forget_directory(self, directory: str) -> None:
        for name in [name for name in self._files if name.startswith(f"{directory}/")]:
            del self._files[name]
        self._named = {name for name in self._named if not name.startswith(f"{directory}/")}

    def _file(self, name: str) -> File:
        """Return a file, open; made if it is absent. The one opened longest ago is let go."""
        self._doing = name
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = self._disk.open(name, create=True)
            if len(self._files) > self._open_files_max:
                del self._files[next(iter(self._files))]  # closed once this round is done with it
        return file


def _encoded(work: Round, checksums: dict[int, int], *, salt: bytes) -> list[Buffer]:
    """Return the entries of a round, in the order in which their sequences were counted."""
    buffers: list[Buffer] = []
    sequence, synced = work.first_sequence, work.synced_sequence
    for part in work.parts:
        topic, number = part.partition
        for run in part.runs:
            if run.carrier is _FILES:
                continue
            if run.carrier is _JOURNAL:
                covered = pack_append(
                    APPEND_BYTES + run.size_bytes, sequence, synced, APPEND_KIND,
                    number, topic, run.base_offset, run.segment, run.position,
                    run.leader_epoch, run.append_time,
                )  # fmt: skip
                buffers.append(sealed(covered, run.buffers, salt=salt))
                buffers += run.buffers
            else:
                direct = _direct_entry(part.partition, run, checksums[id(run)])
                buffers += encode(direct, Stamp(sequence, synced), salt=salt)
            sequence += 1
        if part.cut is not None or part.delete:
            buffers += encode(_last_entry(part), Stamp(sequence, synced), salt=salt)
            sequence += 1
    if work.clock is not None:
        buffers += encode(ClockReserved(work.clock), Stamp(sequence, synced), salt=salt)
        sequence += 1
    assert sequence == work.end_sequence, "ROUND_ENTRIES_COUNTED"
    return buffers


def _direct_entry(partition: PartitionId, run: Run, checksum: int) -> AppendDirect:
    place = Place(run.base_offset, run.segment, run.position)
    epoch, time = run.leader_epoch, run.append_time
    return AppendDirect(partition, place, epoch, time, run.size_bytes, checksum)


def _last_entry(part: Part) -> Truncate | Delete:
    """Return what a part says after its batches, if it says anything."""
    if part.cut is not None:
        return Truncate(part.partition, part.cut.offset)
    return Delete(part.partition)


def cut_files(disk: Disk, cut: Cut) -> CutDone:
    """Cut a partition's files at an offset, again and again with the same result. Raises OSError.

    Nothing is synced: the caller's TRUNCATE is durable, and the checkpoint that reflects it syncs.
    """
    directory = cut.directory
    for base in cut.gone:
        for ending in GOING_FILES:
            _unlink(disk, f"{directory}/{by_offset(base, ending)}")
    for name in disk.list(directory):
        snapshot = parse_offset(name, PRODUCERS)
        if snapshot is not None and snapshot > cut.offset:
            _unlink(disk, f"{directory}/{name}")
    forget_epochs(disk, directory, cut.offset)
    if cut.kept is None:
        return CutDone(0, 0)
    _unlink(disk, f"{directory}/{by_offset(cut.kept, INDEX)}")
    log = disk.open(f"{directory}/{by_offset(cut.kept, LOG)}", create=True)
    size = _bytes_below(log, cut.offset)
    log.truncate(size)
    log.close()
    times = disk.open(f"{directory}/{by_offset(cut.kept, TIMES)}", create=True)
    kept, newest = _times_below(times, cut.offset)
    times.truncate(kept)
    times.close()
    return CutDone(size, kept, newest)


def _bytes_below(file: File, offset: Offset) -> int:
    """Return how many bytes of a `.log` hold the batches below an offset, where one of them ends.

    What follows need not be a batch. Before a replay the file was this short already, and what the
    journal has put above that, behind zeros, is to go again.
    """
    size, end = 0, 0
    for position, header in iter_headers(file, Position(0), file.size()):
        if header.end_offset > offset:
            return position
        size, end = position + header.size_bytes, header.end_offset
    # Damaged below the offset: how much of the rest lies below it as well, nobody can tell. Of a
    # file that is lost a byte is there again: one without any would count as sound, and empty.
    return size if end == offset else max(1, file.size())


def _times_below(file: File, offset: Offset) -> tuple[int, AppendTimeMs | None]:
    """Return how many bytes of a `.times` file hold rows that begin below an offset.

    And the append time of the last of them.
    """
    size = file.size() // ROW_BYTES * ROW_BYTES
    while size > ROW_BYTES:
        row = decode_row(file.pread(ROW_BYTES, Position(size - ROW_BYTES)))
        if row is not None and row.offset < offset:
            return size, row.append_time
        size -= ROW_BYTES
    return 0, None


def _unlink(disk: Disk, name: str) -> None:
    try:
        disk.unlink(name)
    except FileNotFoundError:
        return
