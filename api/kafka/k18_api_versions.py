"""ApiVersions (key 18, KIP-35, KIP-511): what this listener serves.

The first request of most clients, sent before they know anything: so the answer's header is v0 in
every version, and a version above ours is answered in v0 with error 35 and our own range, after
which the client asks again on the same connection. No feature is finalised: those that clients
know would promise transactions.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Final

from api.errors import kafka_number
from api.kafka.request import Api, Request
from api.kafka.schema import Message, read_request, write_response
from api.kafka_settings import SMALL_REQUEST_BYTES_MAX
from model.errors import ErrorCode

if TYPE_CHECKING:
    from api.kafka.broker_port import BrokerPort

KEY: Final = 18
VERSION_MAX: Final = 4
FLEXIBLE_FROM: Final = 3
SOFTWARE_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?")
"""KIP-511: what the name and version of a client's software look like."""


class ApiVersions:
    """Answers from a table; the bytes for each version are made once."""

    def __init__(self, apis: Iterable[Api]) -> None:
        """Advertise these APIs, and ApiVersions itself."""
        self.api = Api(
            key=KEY,
            name="ApiVersions",
            version_min=0,
            version_max=VERSION_MAX,
            flexible_from=FLEXIBLE_FROM,
            request_bytes_max=SMALL_REQUEST_BYTES_MAX,
            parse=parse,
            handle=self.handle,
        )
        served = sorted((*apis, self.api), key=lambda api: api.key)
        self._bodies = {
            version: _body(version, error_code=0, served=served)
            for version in range(VERSION_MAX + 1)
        }

    def handle(self, broker: "BrokerPort", request: Request, message: Message) -> None:
        """Answer; a client that misspells its own name is told so, as Kafka does."""
        del broker
        names = (message.get("client_software_name"), message.get("client_software_version"))
        if any(name is not None and SOFTWARE_NAME.fullmatch(name) is None for name in names):
            refusal = {"error_code": kafka_number(ErrorCode.INVALID_REQUEST), "api_keys": []}
            request.respond_plain(write_response(KEY, request.version, refusal | UNTHROTTLED))
            return
        request.respond_plain(self._bodies[request.version])


UNTHROTTLED: Final = {"throttle_time": 0}


def parse(request: Request) -> Message:
    """Read the request."""
    return read_request(KEY, request.version, request.frame[request.at :])


def refuse_version(request: Request) -> None:
    """Answer a version that we do not know: error 35 in v0, with the versions of this key."""
    request.respond_plain(_refusal())


@cache
def _refusal() -> bytes:
    error_code = kafka_number(ErrorCode.NOT_IMPLEMENTED)
    row = {"api_key": KEY, "min_version": 0, "max_version": VERSION_MAX}
    return write_response(KEY, 0, {"error_code": error_code, "api_keys": [row]})


def _body(version: int, *, error_code: int, served: Iterable[Api]) -> bytes:
    rows = [
        {"api_key": api.key, "min_version": api.version_min, "max_version": api.version_max}
        for api in served
    ]
    message = {"error_code": error_code, "api_keys": rows}
    return write_response(KEY, version, message | UNTHROTTLED)
