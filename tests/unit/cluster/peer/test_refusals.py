"""A refusal crosses a link and is the same error there, or one that claims no more."""

import pytest

from cluster.controller.answer_frames import error_of, refusal_of
from cluster.controller.registration import Barrier, RegistrationRefused
from cluster.peer.forward import PAIRS_MAX, VALUE_BYTES_MAX, CallRefused, decode, encode_refused
from cluster.peer.table import parse
from model.errors import ErrorCode, Outcome, RequestError


def crossed(refused: CallRefused) -> CallRefused:
    said = decode(parse(encode_refused(refused, correlation=1), version=1))
    assert isinstance(said, CallRefused)
    return said


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_is_itself_on_the_other_side(code: ErrorCode) -> None:
    sent = RequestError(code, "why", retry_delay_ms=20, topic="orders", field="key")
    told = crossed(CallRefused.of(sent)).error
    assert (told.code, told.detail, told.retry_delay_ms) == (code, "why", 20)
    assert told.metadata == sent.metadata


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.NOT_DONE, ErrorCode.NOT_IMPLEMENTED),
        (Outcome.UNKNOWN, ErrorCode.INTERNAL),
        (Outcome.DONE, ErrorCode.INTERNAL),
    ],
)
def test_a_reason_of_a_newer_release_claims_no_more_than_its_outcome(
    outcome: Outcome, code: ErrorCode
) -> None:
    told = crossed(CallRefused(outcome, "MOON_IS_FULL", "wait")).error
    assert (told.code, told.detail) == (code, "MOON_IS_FULL: wait")
    assert told.code.outcome is not Outcome.NOT_DONE or outcome is Outcome.NOT_DONE


def test_an_outcome_that_the_reason_does_not_have_here_is_believed() -> None:
    told = crossed(CallRefused(Outcome.UNKNOWN, "NOT_LEADER", "it moved")).error
    assert told.code is ErrorCode.INTERNAL


@pytest.mark.parametrize("barrier", Barrier)
def test_a_refused_registration_keeps_its_barrier(barrier: Barrier) -> None:
    sent = RegistrationRefused(barrier, "no", node="3")
    told = error_of(crossed(refusal_of(sent)))
    assert isinstance(told, RegistrationRefused)
    assert (told.barrier, told.detail, told.metadata) == (barrier, "no", {"node": "3"})
    assert told.exit_code is sent.exit_code


def test_an_unknown_barrier_is_an_error_like_others() -> None:
    refused = refusal_of(RegistrationRefused(Barrier.DUPLICATE_ID, "no"))
    told = error_of(crossed(refused._replace(metadata=(("barrier", "moon"),))))
    assert type(told) is RequestError
    assert told.code is ErrorCode.WRONG_CLUSTER
    plain = refusal_of(RequestError(ErrorCode.NO_QUORUM, "wait"))
    assert error_of(crossed(plain)).code is ErrorCode.NO_QUORUM


def test_long_texts_are_cut_between_characters() -> None:
    pairs = tuple((f"n{number:03}", "ä" * VALUE_BYTES_MAX) for number in range(PAIRS_MAX + 9))
    told = crossed(CallRefused(Outcome.NOT_DONE, "LIMIT_EXCEEDED", "\udc80ö" * 9_999, None, pairs))
    assert len(told.metadata) == PAIRS_MAX
    assert {value for _, value in told.metadata} == {"ä" * (VALUE_BYTES_MAX // 2)}
    assert told.detail.startswith("?ö?ö")
