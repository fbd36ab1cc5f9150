"""Faults planted on purpose: each is one line that someone might write, and must be caught."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from cluster.replication.high_watermark import CommitRule, Ends, Isr, high_watermark
from logstore.settings import Flush
from model.ids import NodeId, Offset


class Mark(Protocol):
    """The signature of `high_watermark`."""

    def __call__(
        self, held: Offset, ends: Mapping[NodeId, Ends], *, isr: Isr, rule: CommitRule
    ) -> Offset: ...


def altered(
    *,
    misread_held: Callable[[Offset], Offset] = lambda held: held,
    misread_isr: Callable[[Isr], Isr] = lambda isr: isr,
    misread_rule: Callable[[CommitRule], CommitRule] = lambda rule: rule,
) -> Mark:
    """Return `high_watermark` with one of its inputs misread."""

    def mark(held: Offset, ends: Mapping[NodeId, Ends], *, isr: Isr, rule: CommitRule) -> Offset:
        return high_watermark(
            misread_held(held), ends, isr=misread_isr(isr), rule=misread_rule(rule)
        )

    return mark


HIGH_WATERMARK: Final[dict[str, Mark]] = {
    "counts what is written as flushed": altered(
        misread_rule=lambda rule: replace(rule, flush=Flush.ASYNC)
    ),
    "ignores the pending ISR": altered(misread_isr=lambda isr: Isr(isr.committed, isr.committed)),
    "counts flushes of either view": altered(misread_isr=lambda isr: Isr(isr.maximal, isr.maximal)),
    "is content with one flush": altered(
        misread_rule=lambda rule: replace(rule, min_insync_replicas=1)
    ),
    "forgets how far it was": altered(misread_held=lambda _: Offset(0)),
}
