"""Sessions: silence and proof of death, on a clock that the test holds."""

from dataclasses import replace

import pytest

from cluster.controller.image import NO_INCARNATION, BrokerImage, Standing
from cluster.controller.sessions import Heard, Sessions
from model.ids import MonotonicMs, NodeId, RegistrationEpoch

ME, ONE, TWO = NodeId(0), NodeId(1), NodeId(2)
PROCESS, OTHER = bytes([1] * 16), bytes([2] * 16)


def at(ms: int) -> MonotonicMs:
    return MonotonicMs(ms)


def broker(node: NodeId, *, epoch: int = 3, incarnation: bytes = PROCESS) -> BrokerImage:
    return BrokerImage(
        node=node,
        directory=bytes(16),
        registration_epoch=RegistrationEpoch(epoch),
        endpoints=(),
        rack=None,
        version="",
        incarnation=incarnation,
    )


def begun(*brokers: BrokerImage, now: int = 0) -> Sessions:
    sessions = Sessions(session_ms=2_500, refused_ms=300)
    sessions.begin(brokers, at(now), me=ME, incarnation=PROCESS)
    return sessions


def heard(sessions: Sessions, known: BrokerImage, now: int) -> Heard:
    return sessions.heard(known.node, known.registration_epoch, broker=known, now=at(now))


def test_silence_ends_a_session_and_a_heartbeat_begins_it_anew() -> None:
    one, two = broker(ONE), broker(TWO)
    sessions = begun(one, two)
    assert heard(sessions, one, 400) is Heard.FINE
    assert sessions.next_due() == 2_500
    assert sessions.due(at(2_499)) == ()
    assert sessions.live(at(2_499)) == {ONE, TWO}
    assert sessions.due(at(2_500)) == ((TWO, 3),)
    assert sessions.live(at(2_500)) == {ONE}
    sessions.ended(TWO)
    assert sessions.next_due() == 2_900
    assert sessions.due(at(2_900)) == ((ONE, 3),)
    sessions.ended(ONE)
    assert sessions.next_due() is None


def test_a_new_controller_gives_everybody_who_is_up_a_whole_fresh_session() -> None:
    away = [replace(broker(NodeId(n)), standing=s) for n, s in enumerate(Standing, 10)]
    sessions = begun(broker(ONE), *away, now=10_000)
    up = {one.node for one in away if one.standing.is_up}
    assert sessions.live(at(12_499)) == {ONE, *up}
    assert [node for node, _ in sessions.due(at(12_500))] == sorted({ONE, *up})
    sessions.begin([broker(ONE)], at(13_000), me=ME, incarnation=PROCESS)
    assert sessions.due(at(15_499)) == ()


def test_an_earlier_process_of_the_controllers_own_node_is_gone() -> None:
    assert begun(broker(ME, incarnation=OTHER), broker(ONE)).live(at(0)) == {ONE}
    assert begun(broker(ME), broker(ONE)).live(at(0)) == {ME, ONE}


def test_a_registration_begins_a_session_whatever_was_held() -> None:
    sessions = begun(broker(ONE))
    sessions.registered(broker(ONE, epoch=4, incarnation=OTHER), at(2_400))
    assert sessions.due(at(4_899)) == ()
    assert sessions.due(at(4_900)) == ((ONE, 4),)


def test_a_heartbeat_is_judged_by_what_is_registered() -> None:
    sessions = begun()
    known = broker(ONE)
    assert sessions.heard(ONE, RegistrationEpoch(3), broker=None, now=at(0)) is Heard.REGISTER
    newer = sessions.heard(ONE, RegistrationEpoch(4), broker=known, now=at(0))
    assert newer is Heard.REGISTER
    older = sessions.heard(ONE, RegistrationEpoch(2), broker=known, now=at(0))
    assert older is Heard.REPLACED
    assert sessions.live(at(0)) == set()
    assert heard(sessions, replace(known, standing=Standing.FENCED), 0) is Heard.UNFENCE
    assert sessions.live(at(0)) == {ONE}
    assert heard(sessions, replace(known, standing=Standing.STOPPING), 0) is Heard.FINE
    assert heard(sessions, replace(known, standing=Standing.STOPPED), 0) is Heard.STOPPED
    assert sessions.live(at(0)) == set()


def test_a_reset_link_and_refused_attempts_are_proof_after_300_ms() -> None:
    sessions = begun(broker(ONE), broker(TWO))
    sessions.link_lost(ONE)
    assert sessions.due(at(100)) == ()
    sessions.link_refused(ONE, at(110))
    sessions.link_refused(ONE, at(409))
    assert sessions.due(at(409)) == ()
    sessions.link_refused(ONE, at(410))
    assert sessions.due(at(410)) == ((ONE, 3),)
    assert sessions.live(at(410)) == {TWO}


@pytest.mark.parametrize("sign", ["heartbeat", "link", "reset"])
def test_a_sign_of_life_between_two_refusals_begins_the_proof_anew(sign: str) -> None:
    one = broker(ONE)
    sessions = begun(one)
    sessions.link_lost(ONE)
    sessions.link_refused(ONE, at(100))
    if sign == "heartbeat":
        heard(sessions, one, 200)
    elif sign == "link":
        sessions.link_up(ONE, PROCESS)
    sessions.link_lost(ONE)
    sessions.link_refused(ONE, at(401))
    assert sessions.due(at(401)) == ()
    sessions.link_refused(ONE, at(701))
    assert sessions.due(at(701)) == ((ONE, 3),)


def test_refusals_without_a_reset_link_prove_nothing() -> None:
    sessions = begun(broker(ONE))
    sessions.link_refused(ONE, at(0))
    sessions.link_refused(ONE, at(1_000))
    assert sessions.due(at(1_000)) == ()


def test_another_process_at_its_address_is_proof_once_its_link_was_reset() -> None:
    sessions = begun(broker(ONE))
    sessions.link_up(ONE, OTHER)
    assert sessions.due(at(0)) == ()
    sessions.link_lost(ONE)
    sessions.link_up(ONE, PROCESS)
    assert sessions.due(at(0)) == ()
    sessions.link_lost(ONE)
    sessions.link_up(ONE, OTHER)
    assert sessions.due(at(0)) == ((ONE, 3),)


def test_links_of_nodes_without_a_session_tell_nothing() -> None:
    sessions = begun()
    sessions.link_lost(ONE)
    sessions.link_refused(ONE, at(0))
    sessions.link_up(ONE, NO_INCARNATION)
    sessions.ended(ONE)
    assert sessions.due(at(10_000)) == ()


def test_a_process_with_a_successor_at_its_address_keeps_nobody_out() -> None:
    """Its successor registers at once; to fence it before would change more than that does."""
    sessions = begun(broker(ONE))
    sessions.succeeded(ONE, OTHER)  # of a process that is not the one that is held
    sessions.succeeded(TWO, PROCESS)
    assert sessions.live(at(0)) == {ONE}
    sessions.succeeded(ONE, PROCESS)
    assert sessions.live(at(0)) == frozenset()
    assert sessions.due(at(2_499)) == ()
    assert sessions.due(at(2_500)) == ((ONE, 3),)
    sessions.registered(broker(ONE, epoch=4, incarnation=OTHER), at(2_500))
    assert sessions.live(at(2_500)) == {ONE}
