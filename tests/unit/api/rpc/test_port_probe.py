"""Whether a port can be had is asked without anybody hearing of it."""

import errno
import os
import socket
from typing import ClassVar

import pytest

from api.rpc.port_probe import why_taken

HERE = "127.0.0.1"
Plain = socket.socket


def listening() -> socket.socket:
    return socket.create_server((HERE, 0))  # with SO_REUSEADDR, as gRPC binds


class Met(socket.socket):
    """A socket to which a client comes when all that is left to do with it is to close it."""

    outcomes: ClassVar[list[str]] = []

    def __exit__(self, *of: object) -> None:
        with Plain() as client:
            self.outcomes.append(os.strerror(client.connect_ex(self.getsockname())))
        super().__exit__(*of)


def test_where_somebody_listens_the_system_says_so() -> None:
    with listening() as other:
        assert why_taken(HERE, other.getsockname()[1]) == os.strerror(errno.EADDRINUSE)


def test_a_port_that_was_in_use_a_moment_ago_can_be_had() -> None:
    """A node that is started anew finds the connections of its last life in TIME_WAIT."""
    with listening() as server, socket.create_connection(server.getsockname()) as client:
        port = server.getsockname()[1]
        server.accept()[0].close()  # the side that closes first waits
        assert client.recv(1) == b""
    assert why_taken(HERE, port) is None


def test_a_client_that_connects_meanwhile_is_refused_not_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was refused was not done; of a call that was cut off nobody knows."""
    monkeypatch.setattr(socket, "socket", Met)
    assert why_taken(HERE, 0) is None
    assert Met.outcomes == [os.strerror(errno.ECONNREFUSED)]
