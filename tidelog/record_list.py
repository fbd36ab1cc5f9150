"""A list of records while it fills: nothing of it counts before the program has it.

What is gathered is neither in hand nor behind the consumer's place. So a list that is given up, by
a cancelled task or a timeout around it, goes back to where it came from and is read again; and a
partition that is asked back meanwhile goes at once, its records out of the list with it.
"""

from typing import Generic

from tidelog.handing_out import HandingOut
from tidelog.held import Held, Holdings, Item, Spot
from tidelog.steps import Advance, Raw, Step, Trouble
from tidelog.types import K, Record, V


class RecordList(Generic[K, V]):
    """One list."""

    def __init__(self, holdings: Holdings, out: HandingOut[K, V]) -> None:
        """Begin with nothing."""
        self._holdings = holdings
        self._out = out
        self._taken: list[tuple[Held, Item]] = []
        """What was taken, in its order; of a partition it counts from its first record on."""
        self._records: list[tuple[Held, Record[K, V]]] = []
        self._began: dict[Held, Spot] = {}
        """Where delivery of a partition began, as of its first record: a seek begins anew."""
        self._next: dict[Held, Spot] = {}
        """Behind the last record that is gathered of each partition."""
        self._passed: dict[Held, Advance] = {}
        """What lies behind one, and is no record."""
        self.is_cut = False
        """It ends here: what comes next is raised when the program asks for it."""

    def __len__(self) -> int:
        """Return how many records are gathered."""
        return len(self._records)

    def take(self) -> Record[K, V] | None:
        """Gather the next record that is here and return it; None: there is none, or it is cut.

        Raises:
            TidelogError: before the first record, what the program must be told.
            Exception: likewise, whatever the codec raises; reading on goes on behind it.
        """
        while (found := self._holdings.next(self._taken)) is not None:
            held, step = found
            if isinstance(step, Raw):
                return self._gather(held, step)
            if isinstance(step, Advance) and self._began.get(held) is held.began:
                self._taken.append(found)
                self._passed[held] = step
            elif self._ends_with(step):
                self._holdings.put_back(held, [step])
                self.is_cut = True
                return None
            else:
                self._out.pass_by(held, step)
        return None

    def _ends_with(self, step: Step) -> bool:
        """Tell whether the program is told of it, and has records to see before."""
        is_told = isinstance(step, Trouble) and not self._out.is_only_warned_of(step)
        return is_told and bool(self._records)

    def _gather(self, held: Held, raw: Raw) -> Record[K, V] | None:
        spot = (raw.offset + 1, raw.leader_epoch)
        if self._began.setdefault(held, held.began) is not held.began:
            self._leave_out(held)
        self._taken.append((held, raw))
        try:
            record = self._out.record_of(raw)
        except Exception:
            self._taken.pop()
            if not self._records:
                self._out.hand_out(held, spot)
                raise
            self._holdings.put_back(held, [raw])
            self.is_cut = True
            return None
        self._next[held] = spot
        self._passed.pop(held, None)
        self._records.append((held, record))
        return record

    def _leave_out(self, held: Held) -> None:
        """Forget what is gathered of a partition: it was sent elsewhere meanwhile."""
        self._taken = [each for each in self._taken if each[0] is not held]
        self._records = [each for each in self._records if each[0] is not held]
        self._next.pop(held, None)
        self._passed.pop(held, None)
        self._began[held] = held.began

    def hand_out(self) -> list[Record[K, V]]:
        """Return what the program gets: from here on it is in hand; perhaps nothing is left."""
        still = {held for held in self._next if self._is_held(held)}
        for held in still:
            self._out.hand_out(held, self._next[held])
            if held in self._passed:
                self._out.pass_by(held, self._passed[held])
        return [record for held, record in self._records if held in still]

    def put_back(self) -> None:
        """Give it up: whoever reads next gets all of it again."""
        back: dict[Held, list[Item]] = {}
        for held, item in self._taken:
            if held in back or isinstance(item, Raw):  # not the credit of what came before
                back.setdefault(held, []).append(item)
        for held in reversed(back):
            if self._is_held(held):
                self._holdings.put_back(held, back[held])

    def _is_held(self, held: Held) -> bool:
        """Tell whether it is the tenure that it was, not asked back, and not sent elsewhere."""
        return held.revoke_by_s is None and self._holdings.is_of_now(held, self._began[held])
