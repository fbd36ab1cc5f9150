"""One HTTP question to a node, with what an answer or silence means."""

import http.client
from typing import NamedTuple


class Answer(NamedTuple):
    """What came back; status None: nothing did, and `text` says why."""

    status: int | None
    text: str


def ask(host: str, port: int, path: str, *, timeout_ms: int) -> Answer:
    """Return the answer of a node to a GET; never raises for what the network does."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_ms / 1000)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.read(64 << 10).decode("utf-8", "replace"))
    except TimeoutError:
        return Answer(None, f"no answer within {timeout_ms} ms")
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, getattr(error, "strerror", None) or str(error))
    finally:
        connection.close()
