"""The network of a simulation: bytes in order, cuts that are silence, ends at any byte."""

import asyncio
from random import Random

import pytest

from api.sim.loop import SimLoop
from api.sim.net import Host, SimNet
from cluster.shell.peer_network import Address

ONE, TWO = Address("n1", 7_000), Address("n2", 7_000)


class Talker(asyncio.BufferedProtocol):
    """Keeps what it heard, and how its connection ended."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.ended: list[Exception | None] = []
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray(16)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=64)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.heard += self._buffer[:nbytes]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.append(exc)

    def say(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class Gate:
    """Lets everybody in."""

    def __init__(self) -> None:
        self.in_ = Talker()

    def admit(self, host: str, descriptor: int) -> asyncio.BaseProtocol | None:
        return self.in_

    def exhausted(self) -> None:
        raise AssertionError("nothing is exhausted here")


class Wires:
    """Two machines; one dials the other."""

    def __init__(self, seed: int = 1) -> None:
        self.loop = SimLoop.begin(Random(seed).randrange)
        self.net = SimNet(self.loop, Random(seed), {1: ONE, 2: TWO})
        self.hosts: dict[int, Host] = {}
        for number in (1, 2):
            self.begin(number)
        self.gate = Gate()
        self.hosts[2].gate = self.gate
        self.near, self.failed = Talker(), list[OSError]()

    def begin(self, number: int) -> None:
        lane = self.loop.new_lane(f"n{number}")
        self.hosts[number] = self.net.host(number, lane)

    def dial(self) -> None:
        self.hosts[1].dial(TWO, self.near, self.failed.append)
        self.go()

    def go(self) -> None:
        self.loop.run_until(lambda: False, steps=100_000)


@pytest.mark.parametrize("seed", range(10))
def test_bytes_arrive_in_order_in_both_directions(seed: int) -> None:
    wires = Wires(seed)
    wires.dial()
    there = wires.gate.in_
    for number in range(50):
        wires.near.say(b"%d," % number)
        there.say(b"%d;" % number)
    wires.go()
    assert bytes(there.heard) == b"".join(b"%d," % number for number in range(50))
    assert bytes(wires.near.heard) == b"".join(b"%d;" % number for number in range(50))


def test_a_cut_is_silence_one_way_and_what_was_said_arrives_later() -> None:
    wires = Wires()
    wires.dial()
    there = wires.gate.in_
    wires.net.cut([(1, 2)])
    wires.near.say(b"held")
    there.say(b"heard")
    wires.go()
    assert (bytes(there.heard), bytes(wires.near.heard)) == (b"", b"heard")
    assert there.ended == wires.near.ended == []
    wires.net.mend([(1, 2)])
    wires.go()
    assert bytes(there.heard) == b"held"


@pytest.mark.parametrize("seed", range(20))
def test_a_reset_leaves_a_first_part_and_both_ends_hear_of_it(seed: int) -> None:
    wires = Wires(seed)
    wires.dial()
    there, said = wires.gate.in_, bytes(range(200))
    wires.near.say(said)
    assert wires.net.reset_one()
    wires.go()
    assert said.startswith(bytes(there.heard))
    assert [type(one) for one in there.ended + wires.near.ended] == [ConnectionResetError] * 2


def test_a_reset_comes_after_any_byte() -> None:
    arrived = set()
    for seed in range(60):
        wires = Wires(seed)
        wires.dial()
        wires.near.say(bytes(200))
        wires.net.reset_one()
        wires.go()
        arrived.add(len(wires.gate.in_.heard))
    assert len(arrived) > 20


def test_who_hangs_up_is_heard_to_the_end() -> None:
    wires = Wires()
    wires.dial()
    wires.near.say(b"goodbye")
    assert wires.near.transport is not None
    wires.near.transport.close()
    wires.go()
    assert bytes(wires.gate.in_.heard) == b"goodbye"
    assert wires.gate.in_.ended == wires.near.ended == [None]


def test_a_machine_without_a_process_refuses() -> None:
    wires = Wires()
    wires.net.end_process(2, power=False)
    wires.dial()
    assert [type(error) for error in wires.failed] == [ConnectionRefusedError]


def test_a_killed_process_resets_its_connections() -> None:
    wires = Wires()
    wires.dial()
    wires.net.end_process(2, power=False)
    wires.go()
    assert len(wires.near.ended) == 1


def test_a_machine_without_power_says_nothing_until_it_is_back() -> None:
    wires = Wires()
    wires.dial()
    wires.net.end_process(2, power=True)
    wires.near.say(b"are you there?")
    wires.go()
    assert wires.near.ended == []
    wires.begin(2)
    wires.go()
    assert [type(error) for error in wires.near.ended] == [ConnectionResetError]
    late = Wires()
    late.net.end_process(2, power=True)
    late.dial()
    assert late.failed == []


def test_the_kernel_of_a_held_process_takes_what_comes() -> None:
    wires = Wires()
    wires.hosts[2].lane.held = True
    wires.dial()
    wires.near.say(b"later")
    wires.go()
    assert wires.failed == [] and wires.near.transport is not None
    assert bytes(wires.gate.in_.heard) == b""
    wires.hosts[2].lane.held = False
    wires.go()
    assert bytes(wires.gate.in_.heard) == b"later"


def test_a_writer_is_told_to_wait_while_nobody_reads() -> None:
    wires = Wires()
    told: list[str] = []
    wires.near.pause_writing = lambda: told.append("wait")  # type: ignore[method-assign]
    wires.near.resume_writing = lambda: told.append("go on")  # type: ignore[method-assign]
    wires.dial()
    there = wires.gate.in_
    assert there.transport is not None
    there.transport.pause_reading()
    for _ in range(6):
        wires.near.say(bytes(64 << 10))
    wires.go()
    assert told == ["wait"] and not there.heard
    there.transport.resume_reading()
    wires.go()
    assert told == ["wait", "go on"] and len(there.heard) == 6 * (64 << 10)
