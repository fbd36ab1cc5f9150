"""What a call's metadata say about who asks."""

import pytest

from api.rpc.call import Begun, Call, host_of, read_metadata
from api.sim.clock import SimClock
from model.errors import ErrorCode, RequestError
from model.ids import WallMs
from model.principal import ANONYMOUS


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.7:5000", "10.0.0.7"),
        ("ipv6:[::1]:5000", "::1"),
        ("ipv6:%5B2001:db8::1%5D:5000", "2001:db8::1"),
        ("unix:/tmp/socket", "/tmp/socket"),
        ("", ""),
    ],
)
def test_hosts(peer: str, host: str) -> None:
    assert host_of(peer) == host


def test_a_principal_is_anonymous_whatever_it_calls_itself() -> None:
    found = read_metadata({"tidelog-client-id": "billing"}, "ipv4:10.0.0.7:5000", "c1")
    assert (found.name, found.host, found.client_id) == (ANONYMOUS.name, "10.0.0.7", "billing")


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"tidelog-cluster-id": "c2"}, ErrorCode.WRONG_CLUSTER),
        ({"tidelog-client-id": "a\nb"}, ErrorCode.INVALID_REQUEST),
        ({"tidelog-client-id": "x" * 250}, ErrorCode.INVALID_REQUEST),
        ({"tidelog-no-forward": "yes"}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_metadata_that_are_refused(metadata: dict[str, str], code: ErrorCode) -> None:
    with pytest.raises(RequestError) as caught:
        read_metadata(metadata, "", "c1")
    assert caught.value.code is code


def test_the_right_cluster_and_no_forwarding() -> None:
    read_metadata({"tidelog-cluster-id": "c1", "tidelog-no-forward": "1"}, "", "c1")


@pytest.mark.parametrize(
    ("remaining_ms", "asked_ms", "wait_ms"),
    [
        (None, None, 30_000),
        (2_000, None, 2_000),
        (2_000, 500, 500),
        (None, 99_999, 30_000),
        (-5, None, 0),
    ],
)
def test_waits_are_clamped(remaining_ms: int | None, asked_ms: int | None, wait_ms: int) -> None:
    assert Call("x", ANONYMOUS, remaining_ms).wait_ms(asked_ms) == wait_ms


def test_its_time_passes_while_it_is_under_way() -> None:
    """What is taken to another node later has no more time there than its client still waits."""
    clock = SimClock(wall=WallMs(0))
    call = Call("x", ANONYMOUS, 2_000, begun=Begun.now(clock))
    endless = Call("x", ANONYMOUS, None, begun=Begun.now(clock))
    clock.advance(1_500)
    assert (call.left_ms, call.wait_ms(None), call.wait_ms(100)) == (500, 500, 100)
    assert (endless.left_ms, endless.wait_ms(None)) == (None, 30_000)
    clock.advance(1_500)
    assert (call.left_ms, call.wait_ms(None)) == (0, 0)
