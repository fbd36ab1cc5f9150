"""What every test may ask for, and how a run is told."""

import asyncio
import os
import signal
from pathlib import Path

import hypothesis
import pytest

pytest.register_assert_rewrite("tests.datadriven")  # a failing script shows its stanza

# HYPOTHESIS_PROFILE chooses; `ci` is the same run every time, `night` is another one each time.
hypothesis.settings.register_profile("fast", max_examples=50, deadline=None)
hypothesis.settings.register_profile(
    "ci", max_examples=200, deadline=None, derandomize=True, print_blob=True
)
hypothesis.settings.register_profile("night", max_examples=5_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "fast")
)


def pytest_configure() -> None:
    """Say that there is no event loop yet, and that an interrupt counts.

    A shell that puts a run into the background lets it ignore interrupts, and so would every
    program that the tests start, and then interrupt.

    Without the former pytest-asyncio asks Python 3.11 for the current one before its first test;
    that makes a loop which nobody closes, and the warning about it fails the run at its very end.
    """
    asyncio.set_event_loop(None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--rewrite`."""
    parser.addoption("--rewrite", action="store_true", help="rewrite the scripts' expectations")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of parts that .ci/run has kept so far, above pytest's own last line."""
    parts = os.environ.get("TIDELOG_CI_PARTS")
    if parts and Path(parts).exists():
        terminalreporter.section("minutes")
        terminalreporter.write(Path(parts).read_text())


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Tell whether expectations are being rewritten."""
    return bool(request.config.getoption("--rewrite"))


@pytest.fixture
def scripts() -> Path:
    """Return the folder of scripts."""
    return Path(__file__).parent / "data"
