"""Producers: what was sent, what was told of it, and that offsets rise in real time."""

from tests.chaos.checks.known import ACKED, FAILED, READ, UNKNOWN, Known
from tests.chaos.checks.placing import Placing
from tests.chaos.history import Ack, Fail, HistoryError, Lossy, Producer, Send, Unknown

ACKS = ("all", "leader", "none")


class Appends:
    """Judges what producers write down."""

    def __init__(self, known: Known, placing: Placing) -> None:
        """Take what is known."""
        self._known = known
        self._placing = placing
        self._report = known.report
        self.handlers = {
            Producer: self._producer,
            Send: self._send,
            Ack: self._ack,
            Fail: self._fail,
            Unknown: self._unknown,
            Lossy: self._lossy,
        }

    def _producer(self, client: str, event: Producer) -> None:
        if event.acks not in ACKS:
            raise HistoryError(f"{client} has acks={event.acks!r}; use one of {', '.join(ACKS)}")
        sender = self._known.sender(client)
        sender.acks_all = event.acks == "all"
        sender.idempotent = event.idempotent

    def _send(self, client: str, event: Send) -> None:
        written = self._known.written(client, event.at)
        if event.n != len(written.cells):
            raise HistoryError(
                f"{client} sends {event.n} to {event.at} and {len(written.cells)} is its next"
            )
        written.sending(event.count, event.time, event.t)
        self._report.counts["values sent"] += event.count

    def _ack(self, client: str, event: Ack) -> None:
        written = self._known.written(client, event.at)
        log = written.log
        n, count, offset = event.n, event.count, event.offset
        written.settle(n, count, ACKED)
        self._report.counts["values acknowledged"] += count
        claims = written.producer.acks_all and n >= written.forgiven and not log.losing
        if offset is None or not claims:
            return
        last = offset + count - 1
        if offset <= written.floor_of(n) or last <= written.floor_of(n + count - 1):
            text = (
                f"{client}:{n} began once {written.floor_of(n)} was acknowledged, and got {offset}"
            )
            self._report.tell("send-below-ack", event.at, text, client)
        self._placing.place(written, (offset, n, count), flag=ACKED, client=client)
        log.acked_floor = max(log.acked_floor, last)
        if event.epoch is not None:
            log.epochs[event.epoch] = max(last + 1, log.epochs.get(event.epoch, 0))

    def _fail(self, client: str, event: Fail) -> None:
        written = self._known.written(client, event.at)
        written.settle(event.n, event.count, FAILED)
        written.fails = True
        self._report.counts["values refused"] += event.count
        for n in range(event.n, event.n + event.count):
            if written.cells[n] & READ:
                text = f"{client}:{n} had been read, and was then answered as not done: {event.why}"
                self._report.tell("read-of-failed", event.at, text, client)

    def _unknown(self, client: str, event: Unknown) -> None:
        self._known.written(client, event.at).settle(event.n, event.count, UNKNOWN)
        self._report.counts["values of unknown outcome"] += event.count

    def _lossy(self, client: str, event: Lossy) -> None:
        log = self._known.log(event.at)
        log.era += 1
        log.losing = not event.over
        log.forget()
        self._placing.forget(event.at)
        self._report.counts["lossy elections"] += event.over
