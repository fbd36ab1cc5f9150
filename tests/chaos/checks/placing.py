"""Where values lie: one value at an offset, and one offset for a value of who is idempotent."""

from array import array

from tests.chaos.checks.known import (
    ACKED,
    N_BITS,
    NO_TIME,
    OUTCOMES,
    PAGE,
    PAGE_BITS,
    PLACE_SHIFT,
    READ,
    UNKNOWN,
    Known,
    Log,
    Written,
)


class Placing:
    """Puts values to offsets as they are acknowledged and read, and looks at the whole at the end."""

    def __init__(self, known: Known) -> None:
        """Take what is known."""
        self._known = known
        self._report = known.report

    def place(self, written: Written, run: tuple[int, int, int], flag: int, client: str) -> None:
        """Put values `n`... to offsets: `run` is (offset, n, count). `flag`: ACKED or READ."""
        offset, n, count = run
        log = written.log
        if n < written.forgiven or log.losing:
            return
        cells = written.cells
        times = written.times
        top = (written.producer.index << N_BITS) + 1
        for each in range(n, n + count):
            number = offset >> PAGE_BITS
            page = log.pages.get(number)
            if page is None:
                page = log.pages[number] = array("Q", bytes(8 * PAGE))
            index = offset & (PAGE - 1)
            there = page[index]
            if there != top + each:
                if there:
                    self._two_values(log, offset, (there, top + each), client)
                else:
                    page[index] = top + each
                    if times is not None and times[each] != NO_TIME:
                        log.event_times.set(offset, times[each])
            cell = cells[each]
            place = cell >> PLACE_SHIFT
            if place != offset + 1:
                if place and written.producer.idempotent:
                    self._two_places(written, (each, offset), flag, client)
                elif place and not there:
                    self._report.counts["stored twice by who is not idempotent"] += 1
                if not place or flag == READ:
                    cells[each] = (cell & OUTCOMES | flag) | cell & READ | offset + 1 << PLACE_SHIFT
            elif not cell & flag:
                cells[each] = cell | flag
            offset += 1

    def forget(self, at: str) -> None:
        """Claim nothing of what was sent to a partition so far."""
        for sender in self._known.by_index:
            written = sender.to.get(at)
            if written is not None:
                written.forgiven = len(written.cells)

    def finish(self) -> None:
        """Look for what is missing or out of order, when everything is known."""
        for sender in self._known.by_index:
            for written in sender.to.values():
                if sender.idempotent:
                    self._order(written)
                self._missing(written)
        for log in self._known.logs.values():
            self._skipped(log)

    def _two_values(self, log: Log, offset: int, cells: tuple[int, int], client: str) -> None:
        old, new = map(self._known.name_of, cells)
        writers = [self._known.by_index[cell >> N_BITS].name for cell in cells]
        text = f"offset {offset} has {old}, and {new}"
        self._report.tell("inconsistent-offset", log.at, text, (client, *writers))

    def _two_places(self, written: Written, place: tuple[int, int], flag: int, client: str) -> None:
        """Tell of a value that is at another offset than it was known to be."""
        n, offset = place
        cell = written.cells[n]
        before = (cell >> PLACE_SHIFT) - 1
        name = written.producer.name
        is_read = cell & READ and flag == READ
        rule = "duplicate" if is_read else "moved"
        ways = ("acknowledged at", "read at")
        old, new = ways[bool(cell & READ)], ways[flag == READ]
        text = f"{name}:{n} was {old} {before}, and {new} {offset}"
        self._report.tell(rule, written.log.at, text, (name, client))

    def _order(self, written: Written) -> None:
        """An idempotent producer's values lie in the order in which they were sent."""
        cells = written.cells
        last = last_n = 0
        for n in range(written.forgiven, len(cells)):
            place = cells[n] >> PLACE_SHIFT
            if not place:
                continue
            if place <= last:
                both_acked = cells[n] & cells[last_n] & ACKED
                name = written.producer.name
                text = f"{name}:{last_n} is at {last - 1}, and {name}:{n} at {place - 1}"
                rule = "nonmonotonic-send" if both_acked else "reordered"
                self._report.tell(rule, written.log.at, text, (name,))
            last, last_n = place, n

    def _missing(self, written: Written) -> None:
        """What was acknowledged was read, where readers have passed or all was read."""
        log, counts = written.log, self._report.counts
        name = written.producer.name
        for n, cell in enumerate(written.cells):
            if cell & READ:
                counts["unknown outcomes that were in the log"] += bool(cell & UNKNOWN)
                continue
            if not cell & ACKED:
                counts["unknown outcomes that nobody saw"] += bool(cell & UNKNOWN)
                continue
            if n < written.forgiven:
                counts["acknowledged before a lossy election and seen by nobody"] += 1
                continue
            offset = (cell >> PLACE_SHIFT) - 1
            is_passed = offset >= 0 and offset in log.passed
            if 0 <= offset < log.start or not (is_passed or log.drained):
                continue
            if not written.producer.acks_all:
                counts["acknowledged without acks=all and lost"] += 1
                continue
            where = f"at {offset}" if offset >= 0 else "nobody knows where"
            rule = "lost-write" if is_passed else "unseen"
            text = f"{name}:{n} was acknowledged ({where}), and read by nobody"
            self._report.tell(rule, log.at, text, (name,))

    def _skipped(self, log: Log) -> None:
        """Nobody is led past a record that somebody else was given. A lost one is told as lost."""
        for (start, end), (client, inside) in log.skips.items():
            for offset, cell in log.cells(max(start, log.start), end):
                written = self._known.by_index[cell >> N_BITS].to[log.at]
                name = self._known.name_of(cell)
                n = int(name.rpartition(":")[2])
                if not written.cells[n] & READ:
                    continue
                rule = "int-poll-skip" if inside else "poll-skip"
                text = f"from {start} on, {client} was given {end}; {name} is at {offset}"
                self._report.tell(rule, log.at, text, (client, written.producer.name))
                break
