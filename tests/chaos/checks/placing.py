"""Where values lie: one value at an offset, and one offset for a value of who is idempotent."""

from array import array

from tests.chaos.checks.known import (
    ACKED,
    ALL_FLAGS,
    N_BITS,
    N_MASK,
    NO_TIME,
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
    """Lays values at offsets as they come, and judges the whole at the end."""

    def __init__(self, known: Known) -> None:
        """Take what is known."""
        self._known = known
        self._report = known.report

    def place(self, written: Written, run: tuple[int, int, int], *, flag: int, client: str) -> None:
        """Lay values `n`... at offsets: `run` is (offset, n, count). `flag`: ACKED or READ."""
        offset, n, count = run
        log = written.log
        if log.losing:
            return
        forgiven = min(count, max(0, written.forgiven - n))
        offset, n, count = offset + forgiven, n + forgiven, count - forgiven
        cells, pages = written.cells, log.pages
        own = (written.producer.index << N_BITS) + 1
        for each in range(n, n + count):
            page = pages.get(offset >> PAGE_BITS)
            there = 0 if page is None else page[offset & (PAGE - 1)]
            if there != own + each:
                self._lay(written, (each, offset), there, client=client)
            cell = cells[each]
            if cell >> PLACE_SHIFT != offset + 1:
                self._find(written, (each, offset), flag, client=client)
                if not cell >> PLACE_SHIFT or flag == READ:
                    cells[each] = cell & ALL_FLAGS | flag | offset + 1 << PLACE_SHIFT
            elif not cell & flag:
                cells[each] = cell | flag
            offset += 1

    def _lay(self, written: Written, place: tuple[int, int], there: int, *, client: str) -> None:
        """Lay a value at an offset where `there` is what is known to lie; 0: nothing."""
        n, offset = place
        log = written.log
        cell = (written.producer.index << N_BITS) + 1 + n
        if there:
            old, new = self._known.name_of(there), self._known.name_of(cell)
            writers = self._known.by_index[there >> N_BITS].name, written.producer.name
            text = f"offset {offset} has {old}, and {new}"
            self._report.tell("inconsistent-offset", log.at, text, client, *writers)
            return
        page = log.pages.get(offset >> PAGE_BITS)
        if page is None:
            page = log.pages[offset >> PAGE_BITS] = array("Q", bytes(8 * PAGE))
        page[offset & (PAGE - 1)] = cell
        if written.times is not None and written.times[n] != NO_TIME:
            log.event_times.set(offset, written.times[n])

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
            if log.drained is not None:
                self._cut_off(log, log.drained)

    def _find(self, written: Written, place: tuple[int, int], flag: int, *, client: str) -> None:
        """Judge a value that is found at an offset, and was known nowhere or elsewhere."""
        n, offset = place
        cell = written.cells[n]
        before = (cell >> PLACE_SHIFT) - 1
        if before < 0:
            return
        name = written.producer.name
        if not written.producer.idempotent:
            self._report.counts["found at another offset too, of who is not idempotent"] += 1
            return
        rule = "duplicate" if cell & READ and flag == READ else "moved"
        ways = ("acknowledged at", "read at")
        old, new = ways[bool(cell & READ)], ways[flag == READ]
        text = f"{name}:{n} was {old} {before}, and {new} {offset}"
        self._report.tell(rule, written.log.at, text, name, client)

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
                self._report.tell(rule, written.log.at, text, name)
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
            if log.start > max(offset, 0) or not (is_passed or log.drained is not None):
                continue
            if not written.producer.acks_all:
                counts["acknowledged without acks=all and lost"] += 1
                continue
            where = f"at {offset}" if offset >= 0 else "nobody knows where"
            rule = "lost-write" if is_passed else "unseen"
            text = f"{name}:{n} was acknowledged ({where}), and read by nobody"
            self._report.tell(rule, log.at, text, name)

    def _skipped(self, log: Log) -> None:
        """Nobody is led past a record that somebody else was given. A lost one is told as lost."""
        for (start, end), (client, inside) in log.skips.items():
            for offset, cell in log.cells(max(start, log.start), end):
                written = self._known.by_index[cell >> N_BITS].to[log.at]
                name = self._known.name_of(cell)
                if not written.cells[(cell & N_MASK) - 1] & READ:
                    continue
                rule = "int-poll-skip" if inside else "poll-skip"
                text = f"from {start} on, {client} was given {end}; {name} is at {offset}"
                self._report.tell(rule, log.at, text, client, written.producer.name)
                break

    def _cut_off(self, log: Log, end: int) -> None:
        """What was read is still there when all is read. What nobody read is told as unseen."""
        for offset, cell in log.cells(end, max(log.pages, default=0) + 1 << PAGE_BITS):
            sender = self._known.by_index[cell >> N_BITS]
            if sender.to[log.at].cells[(cell & N_MASK) - 1] & READ:
                text = f"{self._known.name_of(cell)} was read at {offset}; the log ends at {end}"
                self._report.tell("lost-write", log.at, text, sender.name)
