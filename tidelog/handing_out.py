"""Handing out what has come for a member: records decoded, and what lies between them.

What is handed out is in hand until the program comes back: then it is finished.
"""

import logging
from collections.abc import MutableSet
from typing import Final, Generic

from tidelog.codecs import Codec
from tidelog.decode_record import decode_record
from tidelog.errors import LogGap
from tidelog.held import Held, Holdings, Spot
from tidelog.replay import Gaps
from tidelog.settlement import Settlement
from tidelog.steps import Advance, Live, Raw, Step, Trouble
from tidelog.types import K, Record, V

LOGGER: Final = logging.getLogger("tidelog.client")


class HandingOut(Generic[K, V]):
    """One consumer's."""

    def __init__(  # noqa: PLR0913 - what it is made of, each by its name
        self,
        holdings: Holdings,
        settlement: Settlement,
        in_hand: MutableSet[Held],
        *,
        key: Codec[K],
        value: Codec[V],
        gaps: Gaps,
        commits: bool,
    ) -> None:
        """Take where it comes from and who hears of it; `commits`: the consumer does it itself."""
        self._holdings = holdings
        self._settlement = settlement
        self._in_hand = in_hand
        self._key = key
        self._value = value
        self._gaps = gaps
        self._commits = commits

    def next(self) -> Record[K, V] | None:
        """Hand out the next record that is here; None: there is none.

        Raises:
            TidelogError: what the program must be told at this point; reading on goes on behind it.
            Exception: whatever the codec raises; reading on goes on with the next record.
        """
        while (found := self._holdings.next()) is not None:
            held, step = found
            if isinstance(step, Raw):
                held.next = held.handed = (step.offset + 1, step.leader_epoch)
                self._in_hand.add(held)
                return self.record_of(step)
            self.pass_by(held, step)
        return None

    def hand_out(self, held: Held, spot: Spot) -> None:
        """Note that the records up to a place of a partition are in hand."""
        held.next = held.handed = spot
        self._in_hand.add(held)

    def pass_by(self, held: Held, step: Step) -> None:
        """Take a sign that lies between records.

        Raises:
            TidelogError: what the program must be told.
        """
        match step:
            case Advance(_, offset, epoch):
                held.next = (offset, epoch)
                if held not in self._in_hand and self._commits:
                    self._settlement.finished(held)
            case Trouble(error):
                if not self.is_only_warned_of(step):
                    raise error
                LOGGER.warning("%s", error)
            case Raw() | Live():
                raise AssertionError(step)

    def is_only_warned_of(self, trouble: Trouble) -> bool:
        """Tell whether reading goes on behind it by itself."""
        return isinstance(trouble.error, LogGap) and self._gaps == "warn"

    def record_of(self, raw: Raw) -> Record[K, V]:
        """Return a record as the program gets it.

        Raises:
            Exception: whatever the codec raises.
        """
        return decode_record(raw, key=self._key, value=self._value, replay=None)

    def finish(self) -> None:
        """Take note that the program is done with what it has in hand."""
        if self._commits:
            for held in self._in_hand:
                self._settlement.finished(held)
        self._in_hand.clear()
