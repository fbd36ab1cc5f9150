"""What a legal name is (P54)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ErrorCode, RequestError
from model.names import check_client_name, check_group_name, check_topic_name, is_internal


@pytest.mark.parametrize("name", ["a", "orders", "A.b_c-9", "...", "__offsets", "x" * 249, ".a"])
def test_legal_topic_names(name: str) -> None:
    assert check_topic_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        (".", "is reserved"),
        ("..", "is reserved"),
        ("x" * 250, "has 250 characters, at most 249"),
        ("a b", "has a character outside"),
        ("a/b", "has a character outside"),
        ("orders\n", "has a character outside"),
        ("größe", "has a character outside"),
        ("٣", "has a character outside"),
    ],
)
def test_refused_topic_names(name: str, why: str) -> None:
    with pytest.raises(RequestError, match=why) as caught:
        check_topic_name(name)
    assert caught.value.code is ErrorCode.INVALID_TOPIC_NAME
    assert caught.value.metadata["why"].startswith(why)


@given(st.text(max_size=300))
def test_exactly_the_rule_decides(name: str) -> None:
    legal = re.fullmatch(r"[a-zA-Z0-9._\-]{1,249}", name) and name not in {".", ".."}
    try:
        assert check_topic_name(name) == name
    except RequestError:
        assert not legal
    else:
        assert legal


@pytest.mark.parametrize("name", ["billing", "größe 1/2", "请求", "x" * 249, " "])
def test_legal_group_names(name: str) -> None:
    assert check_group_name(name) == name
    assert check_client_name(name) == name


@pytest.mark.parametrize("name", ["", "y" * 250, "a\nb", "a\x00", "\x7f", "\u2028", "\ud800"])
def test_refused_group_names(name: str) -> None:
    with pytest.raises(RequestError, match=r"^INVALID_REQUEST: group ") as caught:
        check_group_name(name)
    assert caught.value.metadata["field"] == "group"


def test_a_client_may_have_no_name() -> None:
    assert check_client_name("") == ""
    with pytest.raises(RequestError, match="client_id"):
        check_client_name("a\tb")


def test_a_refusal_shows_a_bounded_and_escaped_name() -> None:
    with pytest.raises(RequestError) as caught:
        check_group_name("é\x1b[31m" + "x" * 10_000)
    assert "é\\x1b[31m" in caught.value.detail
    assert "\x1b" not in caught.value.detail + str(caught.value.metadata)
    assert len(caught.value.detail) < 400


def test_topics_of_our_own_are_known_by_their_name() -> None:
    assert is_internal("__group_state")
    assert not is_internal("_orders")
