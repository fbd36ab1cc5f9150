"""What is told of a topic that does not exist: the nearest name, and never at the loop's cost."""

import pytest

from cluster.controller.unknown_topic import COMPARED_MAX, LOOKED_THROUGH_MAX, unknown_name
from model.errors import ErrorCode


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ordrs", "orders"),
        ("xrders", "orders"),
        ("shipments", None),
        ("", None),
        ("orders2", "orders"),
    ],
)
def test_the_nearest_name_is_told(name: str, near: str | None) -> None:
    refused = unknown_name(name, ["flights", "orders"])
    assert refused.code is ErrorCode.UNKNOWN_TOPIC
    assert refused.metadata.get("did_you_mean") == near


def test_what_a_client_sent_is_cut_and_escaped() -> None:
    refused = unknown_name("\x1b[2J" + "x" * 10_000, [])
    assert "\x1b" not in refused.detail
    assert len(refused.metadata["topic"]) < 300


def test_few_names_are_compared_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing 10,000 names takes the loop a second."""
    compared: list[int] = []

    def counted(name: str, known: object) -> None:
        del name
        compared.append(len(list(known)))  # type: ignore[call-overload]

    monkeypatch.setattr("cluster.controller.unknown_topic.did_you_mean", counted)
    unknown_name("topic-x", [f"topic-{at}" for at in range(10)] * 50)
    assert compared == [COMPARED_MAX]
    unknown_name("topic-x", [f"topic-{at}" for at in range(LOOKED_THROUGH_MAX + 1)])
    assert compared == [COMPARED_MAX]
