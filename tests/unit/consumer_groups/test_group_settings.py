"""Bounds of what an operator may set."""

import pytest

from consumer_groups.settings import AssignorName, GroupSettings


def test_defaults_are_what_the_documents_say() -> None:
    settings = GroupSettings()
    assert settings.session_timeout_ms == 8_000
    assert settings.rebalance_timeout_ms == 60_000
    assert settings.resume_timeout_ms == 2_000
    assert settings.offsets_retention_ms == 7 * 86_400_000
    assert settings.members_max == 1_000
    assert settings.offset_metadata_bytes_max == 4_096
    assert settings.assignor is AssignorName.UNIFORM


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("session_timeout_ms", 999),
        ("session_timeout_ms", 3_600_001),
        ("rebalance_timeout_ms", 999),
        ("resume_timeout_ms", 300_001),
        ("members_max", 1_001),
        ("offset_metadata_bytes_max", 4_097),
        ("offsets_retention_ms", 0),
    ],
)
def test_what_is_out_of_bounds_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        GroupSettings(**{name: value})  # type: ignore[arg-type]
