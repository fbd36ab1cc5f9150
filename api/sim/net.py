"""A network in memory between machines: byte streams that are slow, cut, or end at any byte.

What one end writes travels as segments, each with the time of its arrival; within one direction of
a connection bytes stay in order, and may be cut apart anywhere. Between two machines each direction
is a *way* of its own: it has a delay, and it may be *cut*: nothing on it arrives until all is well
again, as TCP sends again for as long as somebody wants it. So a cut is silence, never an error.

A process that is killed leaves a kernel that resets its connections, behind a first part of what it
had written. A machine without power says nothing; what is sent to its old connections when it is
back is reset. A machine whose process does not run refuses who dials. A process that is held has a
kernel that takes what comes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from api.sim.loop import Lane, SimLoop
from api.sim.wires import NOBODY, Attempt, End, Mark, Pipe
from cluster.shell.accept import Gate
from cluster.shell.peer_links import PeerLinks
from cluster.shell.peer_network import Address, Failed
from model.ports import Rand

FAST_US: Final = 200
"""Delay of a way in good weather, about."""
CUT_APART_1_IN: Final = 6
"""One write in so many arrives in two parts."""
SLOW_1_IN: Final = 64
"""One segment in so many takes up to `SLOW_TIMES` as long."""
SLOW_TIMES: Final = 8
_DESCRIPTOR: Final = 40
"""Of connections that are let in; a simulated process runs out of none."""


@dataclass(slots=True)
class Way:
    """One direction between two machines."""

    delay_us: int
    cuts: int = 0
    """How many hold it cut now."""

    @property
    def cut(self) -> bool:
        """Nothing on it arrives."""
        return self.cuts > 0


class Host:
    """One process on its machine: `cluster.shell.peer_network.Network`, and a `PeerNet`."""

    def __init__(self, net: "SimNet", machine: int, lane: Lane) -> None:
        """Run in a lane, on a machine."""
        self.net, self.machine, self.lane = net, machine, lane
        self.gate: Gate | None = None

    @property
    def network(self) -> "Host":
        """The way to the others."""
        return self

    def listen(self, links: PeerLinks, host: str, port: int) -> Address:
        """Let the others in."""
        self.gate = links.listener
        return Address(host, port)

    def dial(
        self, address: Address, protocol: asyncio.BaseProtocol, failed: Failed
    ) -> Callable[[], None]:
        """Begin an attempt; what is sent into a cut or to a dark machine is never answered."""
        attempt = Attempt(self, cast(asyncio.BufferedProtocol, protocol), failed)
        self.net.dialled(attempt, self.net.machine_at(address))
        return attempt.give_up


class SimNet:
    """All machines and what lies between them."""

    def __init__(self, loop: SimLoop, rand: Rand, addresses: dict[int, Address]) -> None:
        """Connect these machines; all ways are fast and none is cut."""
        self.loop, self._rand = loop, rand
        self.addresses = addresses
        self.ways = {(one, two): Way(FAST_US) for one in addresses for two in addresses}
        self.hosts: dict[int, Host | None] = dict.fromkeys(addresses)
        self.carried: Callable[[int, int, bytes | Mark], None] | None = None
        """Told of each segment that a process takes: from, to, what."""
        self._powered = dict.fromkeys(addresses, True)
        self._ends: list[End] = []

    # Machines.

    def machine_at(self, address: Address) -> int:
        """Return which machine has an address."""
        return next(number for number, one in self.addresses.items() if one == address)

    def host(self, machine: int, lane: Lane) -> Host:
        """Let a process begin on a machine, which has power from now on."""
        self._powered[machine] = True
        host = self.hosts[machine] = Host(self, machine, lane)
        self._look_again()
        return host

    def end_process(self, machine: int, *, power: bool, orderly: bool = False) -> None:
        """End the process of a machine.

        `power`: its kernel ends as well, and says nothing. `orderly`: the kernel still says all
        that was written; else a first part of it.
        """
        host, self.hosts[machine] = self.hosts[machine], None
        self._powered[machine] = not power
        for end in self._ends:
            if end.place is not host or end.gone:
                continue
            end.gone = True
            end.out.to.out.keep(0)
            if power:
                end.out.keep(0)
                continue
            if not orderly:
                end.out.keep(self._rand.randrange(len(end.out.segments) + 1))
            self.send(end.out, (Mark.FIN, Mark.RST)[self._rand.randrange(2)])
        self._look_again()

    # Weather.

    def cut(self, ways: Sequence[tuple[int, int]]) -> None:
        """Let nothing arrive on these ways, from machine to machine, until it is mended."""
        for way in ways:
            self.ways[way].cuts += 1

    def mend(self, ways: Sequence[tuple[int, int]]) -> None:
        """Take one cut back from these ways."""
        for way in ways:
            self.ways[way].cuts -= 1
        self._look_again()

    def slow(self, ways: Sequence[tuple[int, int]], delay_us: int) -> None:
        """Let everything on these ways take so long, about."""
        for way in ways:
            self.ways[way].delay_us = delay_us

    def mend_all(self) -> None:
        """Let everything reach everybody again, fast."""
        for way in self.ways.values():
            way.cuts, way.delay_us = 0, FAST_US
        self._look_again()

    def reset_one(self) -> bool:
        """End one connection, each direction after any byte; false if there is none."""
        self._sweep()
        standing = [end for end in self._ends if not end.gone and not end.out.to.gone]
        if not standing:
            return False
        end = standing[self._rand.randrange(len(standing))]
        for one in (end, end.out.to):
            one.out.keep(self._rand.randrange(len(one.out.segments) + 1))
            if one.out.segments and isinstance(last := one.out.segments[-1][1], bytes):
                kept = 1 + self._rand.randrange(len(last))
                one.out.segments[-1] = (one.out.segments[-1][0], last[:kept])
                one.out.bytes_waiting -= len(last) - kept
            self.send(one.out, Mark.RST)
        return True

    # What ends and attempts ask for: `api.sim.wires.Wires`.

    def soon(self, call: Callable[[], object]) -> None:
        """Call in the next pass of the process that runs now."""
        self.loop.call_soon(call)

    def send(self, pipe: Pipe, what: bytes | Mark) -> None:
        """Put something on its way."""
        if isinstance(what, bytes):
            pipe.bytes_waiting += len(what)
            cut_at = self._rand.randrange(len(what)) if self._one_in(CUT_APART_1_IN) else 0
            if cut_at:
                pipe.segments.append((self._arrival(pipe), what[:cut_at]))
                what = what[cut_at:]
        pipe.segments.append((self._arrival(pipe), what))
        self.plan(pipe)

    def dialled(self, attempt: Attempt, machine: int) -> None:
        """Take an attempt to its machine."""
        when = self._later(attempt.place.machine, machine)
        self.loop.post_at(self.loop.outside, when, self._knock, attempt, machine)

    def plan(self, pipe: Pipe) -> None:
        """See to it that what is first in a pipe arrives."""
        if pipe.segments and not pipe.planned:
            pipe.planned = True
            self.loop.post_at(self.loop.outside, pipe.segments[0][0], self._arrive, pipe)

    # What kernels do, on nobody's lane.

    def _knock(self, attempt: Attempt, machine: int) -> None:
        here = attempt.place
        out, back = (here.machine, machine), (machine, here.machine)
        if self.ways[out].cut or self.ways[back].cut or not self._powered[machine]:
            return
        there = self.hosts[machine]
        if here is not self.hosts[here.machine]:
            return
        if there is None or there.gate is None:
            refusal = ConnectionRefusedError()
            self.loop.post_at(here.lane, self._later(*back), attempt.end, refusal)
            return
        near, far = End(self, here, machine), End(self, there, here.machine)
        near.out, far.out = Pipe(near, far), Pipe(far, near)
        near.attempt = attempt
        self._ends += [near, far]
        self.loop.post(there.lane, partial(self._accept, far, there.gate))
        self.send(far.out, Mark.MADE)

    def _accept(self, end: End, gate: Gate) -> None:
        """Let the process of a machine take a connection, or hang up on it."""
        if end.gone:
            return
        protocol = gate.admit(end.get_extra_info("peername")[0], _DESCRIPTOR)
        if protocol is None:
            end.abort()
            return
        end.protocol = cast(asyncio.BufferedProtocol, protocol)  # as links between nodes are
        protocol.connection_made(end)
        self.plan(end.out.to.out)

    def _arrive(self, pipe: Pipe) -> None:
        """The first segment is there: let the process take it, or answer that there is none."""
        pipe.planned = False
        to = pipe.to
        if not pipe.segments or self.ways[pipe.end.place.machine, to.place.machine].cut:
            return
        if not to.gone:
            if self._is_taken(to, pipe.segments[0][1]):
                pipe.planned = True
                self.loop.post(to.place.lane, self._take, pipe)
        elif self._powered[to.place.machine]:
            speaks = isinstance(pipe.segments[0][1], bytes)
            pipe.keep(0)
            if speaks and not pipe.end.gone:
                self.send(to.out, Mark.RST)

    def _take(self, pipe: Pipe) -> None:
        """Hand over all that has arrived, on the lane of who takes it."""
        pipe.planned = False
        to = pipe.to
        while pipe.segments and not to.gone:
            when, what = pipe.segments[0]
            if when > self.loop.now_us or not self._is_taken(to, what):
                break
            pipe.segments.popleft()
            if self.carried is not None:
                self.carried(pipe.end.place.machine, to.place.machine, what)
            left = to.take(what)
            if isinstance(what, bytes):
                pipe.bytes_waiting -= len(what) - len(left or b"")
            if left:
                pipe.segments.appendleft((when, left))
                break
        if pipe.end.is_paused:
            self.loop.post(pipe.end.place.lane, pipe.end.relieve)
        if not pipe.segments or to.gone or self._is_taken(to, pipe.segments[0][1]):
            self.plan(pipe)

    @staticmethod
    def _is_taken(to: End, what: bytes | Mark) -> bool:
        """Tell whether a process takes something now; what it does not take waits."""
        if what is Mark.MADE or what is Mark.RST:
            return True
        return to.protocol is not NOBODY and to.reading

    def _look_again(self) -> None:
        """Something has changed for what waits."""
        self._sweep()
        for end in self._ends:
            self.plan(end.out)

    def _sweep(self) -> None:
        """Forget connections of which nobody knows any more."""
        self._ends = [end for end in self._ends if not (end.gone and end.out.to.gone)]

    def _arrival(self, pipe: Pipe) -> int:
        when = self._later(pipe.end.place.machine, pipe.to.place.machine)
        pipe.last_us = max(when, pipe.last_us)
        return pipe.last_us

    def _later(self, one: int, two: int) -> int:
        delay_us = self.ways[one, two].delay_us * (8 + self._rand.randrange(16)) // 16
        if self._one_in(SLOW_1_IN):
            delay_us *= 1 + self._rand.randrange(SLOW_TIMES)
        return self.loop.now_us + delay_us

    def _one_in(self, count: int) -> bool:
        return self._rand.randrange(count) == 0
