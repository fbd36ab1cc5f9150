"""The room for answers, in shares that wait for each other in one direction alone.

Nodes answer for each other, and each holds room meanwhile. With one budget each would come to hold
what its own clients are to have, and wait for what another node reads for it, while that one waits
for room that is held by its own clients' answers, which wait here: all stand still. So

    parts     hold what is read for an answer that is put together elsewhere, until it is read, and
              wait for nothing;
    relayed   holds what another node takes for its client step by step, and waits for that node's
              clients, or for parts;
    clients   holds what clients are to have, and waits for them, or for parts.

What is held in one share waits for nobody in the same one, here or at another node.
"""

from typing import Final, NamedTuple

from api.broker.memory import MemoryBudget

FOR_CLIENTS: Final = 2
"""One part in so many is for clients, where there are other nodes."""
FOR_NODES: Final = 4
"""And one for each of the two other shares."""
READERS: Final = "are on their way to readers"


class AnswerShares(NamedTuple):
    """See the module."""

    clients: MemoryBudget
    relayed: MemoryBudget
    parts: MemoryBudget

    @property
    def taken_bytes(self) -> int:
        """What is held of all of them."""
        return sum(one.taken_bytes for one in set(self))


def answer_shares(size_bytes: int, *, alone: bool) -> AnswerShares:
    """Share out room for answers; `alone`: there are no other nodes, and clients have all of it."""
    if alone:
        clients = MemoryBudget(size_bytes, READERS)
        return AnswerShares(clients, clients, clients)
    relayed = MemoryBudget(size_bytes // FOR_NODES, f"{READERS} of other nodes")
    parts = MemoryBudget(size_bytes // FOR_NODES, "are read for answers of several nodes")
    return AnswerShares(MemoryBudget(size_bytes // FOR_CLIENTS, READERS), relayed, parts)
