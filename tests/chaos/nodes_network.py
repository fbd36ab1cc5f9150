"""A network of its own for each node, and a bridge between them: links can be cut in one direction.

The clients stand at the bridge. A namespace lives as long as the process that waits in it, which
does not outlive ours: nothing is left behind, however a run ends. Whoever makes a bridge should
have a network namespace for that, in which there is nothing else.
"""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from shutil import which
from threading import Event
from typing import Final, NamedTuple

from tests.kill.node_process import ENDS_WITH_US

TOOLS: Final = ("ip", "iptables", "nsenter", "setpriv", "unshare")
BRIDGE: Final = "tide0"
CLIENTS: Final = 0
"""The number of the clients' end, beside those of the nodes."""
SUBNET: Final = "198.18.0"
"""Set aside for tests of networks (RFC 2544): nobody else is there."""
LOOK_S: Final = 0.01
LOOKS_MAX: Final = 500


class Link(NamedTuple):
    """What goes from one to another."""

    source: int
    target: int


def why_not() -> str | None:
    """Return why there can be no networks here; None: there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in TOOLS if which(tool) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def both_ways(one: int, other: int) -> tuple[Link, Link]:
    """Return what goes between two."""
    return Link(one, other), Link(other, one)


class Network:
    """The bridge, and a namespace for each node."""

    def __init__(self, numbers: Iterable[int]) -> None:
        """Make it."""
        self._holders: dict[int, subprocess.Popen[bytes]] = {}
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{self.address(CLIENTS)}/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        try:
            for number in numbers:
                self._add(number)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def address(number: int) -> str:
        """Return where somebody is."""
        return f"{SUBNET}.{10 + number}"

    def within(self, number: int) -> tuple[str, ...]:
        """Return what begins a command that is to run where a node is."""
        return ("nsenter", f"--net=/proc/{self._holders[number].pid}/ns/net")

    def cut(self, links: Iterable[Link]) -> None:
        """Let nothing come through these any more."""
        for source, target in links:
            rule = ("INPUT", "-s", self.address(source), "-j", "DROP")
            _run(*self._at(target), "iptables", "-w", "-A", *rule)

    def heal(self) -> None:
        """Let everything through again."""
        for number in (CLIENTS, *self._holders):
            _run(*self._at(number), "iptables", "-w", "-F", "INPUT")

    def close(self) -> None:
        """End it; the namespaces and their links go with the processes that wait in them."""
        for holder in self._holders.values():
            holder.kill()
            holder.wait()
        self._holders.clear()
        _run("ip", "link", "delete", BRIDGE)

    def _at(self, number: int) -> tuple[str, ...]:
        return () if number == CLIENTS else self.within(number)

    def _add(self, number: int) -> None:
        command = [*ENDS_WITH_US, "unshare", "--net", "sleep", "infinity"]
        holder = self._holders[number] = subprocess.Popen(command)
        _until_inside(holder.pid)
        outside = f"tide-{number}"
        inside = ("type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        _run("ip", "link", "add", outside, *inside)
        _run("ip", "link", "set", outside, "master", BRIDGE, "up")
        there = self.within(number)
        _run(*there, "ip", "address", "add", f"{self.address(number)}/24", "dev", "eth0")
        _run(*there, "ip", "link", "set", "eth0", "up")
        _run(*there, "ip", "link", "set", "lo", "up")


def _until_inside(pid: int) -> None:
    """Wait until a process is in a network namespace of its own."""
    ours = Path("/proc/self/ns/net").readlink()
    for _ in range(LOOKS_MAX):
        if Path(f"/proc/{pid}/ns/net").readlink() != ours:
            return
        Event().wait(LOOK_S)
    raise TimeoutError(f"process {pid} is in no network namespace of its own")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
