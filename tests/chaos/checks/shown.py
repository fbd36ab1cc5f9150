"""What replies and metadata tell of a log: edges that never go back, one leader in an epoch.

A reader's own replies never show less than before (P12). What another client was shown counts too,
but only by leader epochs: a deposed leader that does not know it yet shows what it has, and a
reader that has not heard of its successor is not misled. Who answers as leader of an epoch shows at
least what was visible in that epoch, and in those before, when it was asked.
After a lossy election nothing is claimed of readers that were there before, until they begin anew
by their own will: what they are shown may have been sent before it.
"""

from tests.chaos.checks.known import Known
from tests.chaos.history import Ask, Begin, HistoryError, Led, Shown


class Edges:
    """What one client was shown of one partition."""

    __slots__ = ("epoch", "era", "hw", "lso", "start")

    def __init__(self, era: int) -> None:
        """Begin with nothing shown."""
        self.era = era
        self.hw = self.lso = self.start = self.epoch = -1


class Edge:
    """Judges what clients were shown of edges and leaders."""

    def __init__(self, known: Known) -> None:
        """Take what is known."""
        self._known = known
        self._report = known.report
        self._edges: dict[tuple[str, str], Edges] = {}
        self._asked: dict[tuple[str, int], tuple[str, int, dict[int, int]]] = {}
        """Partition, era, and what was visible in each epoch when it was asked."""
        self._leaders: dict[tuple[str, int], tuple[int, str]] = {}
        """Of a partition and epoch, with who was told first."""
        self._metadata: dict[tuple[str, int, str], int] = {}
        """Epoch that a client was told by a node of a partition."""
        self.handlers = {
            Begin: self._begin,
            Ask: self._ask,
            Shown: self._shown,
            Led: self._led,
        }

    def _begin(self, client: str, event: Begin) -> None:
        """Who begins anew after a lossy election asks a leader that was elected since."""
        era = self._known.log(event.at).era
        edges = self._edges.get((client, event.at))
        if edges is None or edges.era != era:
            self._edges[client, event.at] = Edges(era)

    def _ask(self, client: str, event: Ask) -> None:
        log = self._known.log(event.at)
        self._asked[client, event.id] = (event.at, log.era, dict(log.epochs))

    def _shown(self, client: str, event: Shown) -> None:
        at = event.at
        log = self._known.log(at)
        edges = self._edges.get((client, at))
        era = 0 if event.asked is None else self._answer(client, event)
        if edges is None:
            edges = self._edges[client, at] = Edges(era)
        if edges.era != log.era or log.losing:
            return
        self._not_back("hw-back", (client, at), (edges.hw, event.hw))
        self._not_back("lso-back", (client, at), (edges.lso, event.lso))
        self._not_back("log-start-back", (client, at), (edges.start, event.start))
        self._not_back("epoch-back", (client, at), (edges.epoch, event.epoch))
        edges.hw = edges.hw if event.hw is None else event.hw
        edges.lso = edges.lso if event.lso is None else event.lso
        if event.start is not None:
            edges.start = event.start
            log.start = max(log.start, event.start)
        if event.epoch is not None:
            edges.epoch = event.epoch
            if event.hw is not None:
                log.epochs[event.epoch] = max(event.hw, log.epochs.get(event.epoch, 0))

    def _not_back(self, rule: str, where: tuple[str, str], edge: tuple[int, int | None]) -> None:
        (client, at), (before, now) = where, edge
        if now is not None and now < before:
            self._report.tell(rule, at, f"{client} was shown {before}, and then {now}", client)

    def _answer(self, client: str, event: Shown) -> int:
        """Compare an answer with what was visible when it was asked for; return the era of then."""
        asked = self._asked.pop((client, event.asked or 0), None)
        if asked is None or asked[0] != event.at:
            raise HistoryError(f"{client} was shown {event.at} and had not asked ({event.asked})")
        _, era, visible = asked
        if event.epoch is None or event.hw is None or era != self._known.log(event.at).era:
            return era
        least = max((hw for epoch, hw in visible.items() if epoch <= event.epoch), default=0)
        if event.hw < least:
            text = (
                f"the leader of epoch {event.epoch} showed {event.hw} to {client}; {least} was "
                "visible in that epoch or before when it was asked"
            )
            self._report.tell("ack-not-shown", event.at, text, client)
        return era

    def _led(self, client: str, event: Led) -> None:
        place = (event.at, event.epoch)
        leader, first = self._leaders.setdefault(place, (event.leader, client))
        if leader != event.leader:
            text = f"epoch {event.epoch} has the leaders {leader} and {event.leader}"
            self._report.tell("two-leaders", event.at, text, first, client)
        told = (client, event.node, event.at)
        before = self._metadata.get(told, -1)
        if event.epoch < before:
            text = f"node {event.node} told {client} of epoch {before}, and then of {event.epoch}"
            self._report.tell("epoch-back", event.at, text, client)
        self._metadata[told] = event.epoch
