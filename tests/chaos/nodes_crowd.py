"""The client processes of a run: producers and readers at both doors."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.kill.node_process import ENDS_WITH_US, ROOT

WRITERS: Final = ("nodes_sdk_writers", "nodes_kafka_writers")
READERS: Final = ("nodes_sdk_readers", "nodes_kafka_readers")
END_S_MAX: Final = 150.0
"""Whoever is told to end has had all answers, or has given up, within it."""
SHOWN: Final = 20


class ClientDied(Exception):  # noqa: N818 - says what happened
    """A client process has ended by itself, or does not end."""


class Crowd:
    """Client processes, each with its words in a file."""

    def __init__(self, folder: Path, addresses: dict[str, str], rate: float) -> None:
        """Start none yet; `addresses`: where clients of `sdk` and `kafka` may begin."""
        self._folder = folder
        self._addresses = addresses
        self._rate = rate
        self.histories = folder / "history"
        self.histories.mkdir()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, names: tuple[str, ...]) -> None:
        """Start client processes, by the names of their modules."""
        for name in names:
            address = self._addresses[name.split("_")[1]]
            words = [*ENDS_WITH_US, sys.executable, "-m", f"tests.chaos.{name}"]
            words += [address, str(self.histories), str(self._rate)]
            with self._said(name).open("wb") as said:
                self._processes[name] = subprocess.Popen(
                    words, cwd=ROOT, stdin=subprocess.PIPE, stdout=said, stderr=said
                )

    def check(self) -> None:
        """See that all run.

        Raises:
            ClientDied: one does not.
        """
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise ClientDied(f"{name} ended with {process.poll()}: {self.words(name)[-1000:]}")

    def end(self, names: tuple[str, ...]) -> None:
        """Let clients come to their end.

        Raises:
            ClientDied: one does not, or not in order.
        """
        for name in names:
            pipe = self._processes[name].stdin
            if pipe is not None:
                pipe.close()
        for name in names:
            try:
                code = self._processes[name].wait(END_S_MAX)
            except subprocess.TimeoutExpired:
                raise ClientDied(f"{name} does not end: {self.words(name)[-1000:]}") from None
            if code:
                raise ClientDied(f"{name} ended with {code}: {self.words(name)[-1000:]}")
            del self._processes[name]

    def close(self) -> None:
        """Leave no process behind."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()

    def words(self, name: str) -> str:
        """Return what a client process has said."""
        return self._said(name).read_text(errors="replace")

    def all_words(self) -> list[str]:
        """Return the lines of all that were started."""
        return [
            f"{name}: {line}"
            for name in (*WRITERS, *READERS)
            if self._said(name).exists()
            for line in self.words(name).splitlines()
        ]

    def _said(self, name: str) -> Path:
        return self._folder / f"{name}.said"
