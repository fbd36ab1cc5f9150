"""The checks of a node, as they are told: what changes is asked for each time."""

from api.http.health import CHECKS, Health


def test_a_detail_that_changes_is_told_as_it_is_now() -> None:
    applied = 0
    health = Health()
    health.passed("metadata", lambda: f"applied {applied}")
    assert "[+] metadata: applied 0" in health.lines()
    applied = 7
    assert "[+] metadata: applied 7" in health.lines()


def test_what_is_not_as_it_should_be_is_named_with_its_detail() -> None:
    health = Health()
    for name in CHECKS:
        assert health.why_not() == f"{name}: not yet"
        health.passed(name)
    assert health.is_ready
    health.failed("storage", "the disk is full")
    assert health.why_not() == "storage: the disk is full"
