"""Progress: after a second, on a terminal only, with a bar where the end is known."""

import io
from pathlib import Path

import pytest

from tidelog.cli.progress import CLEAR, Progress, share_of_file
from tidelog.cli.run import Run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Now:
    """Seconds, set by the test."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def shown(run: Run, share: float | None = None) -> str:
    """Return what stands on stderr after ten seconds of work, a count each second."""
    now = Now()
    progress = Progress(run, "records read", share=lambda: share, now=now)
    for second in range(1, 11):
        now.seconds = float(second) - 0.5
        progress.show(second * 100)
    return str(run.stderr.getvalue())  # type: ignore[attr-defined]


def run_on(stdout: io.StringIO, stderr: io.StringIO, *options: str) -> Run:
    run = Run(environment={}, stdout=stdout, stderr=stderr)
    for option in options:
        run.note(option, value="json" if option == "format" else True)
    return run


def test_it_counts_after_a_second() -> None:
    lines = shown(run_on(io.StringIO(), Terminal())).split(CLEAR)[1:]
    assert len(lines) == 9, "not in the first second"
    assert lines[-1] == "1000 records read  105/s"


def test_a_bar_where_the_end_is_known() -> None:
    lines = shown(run_on(io.StringIO(), Terminal()), share=0.25).split(CLEAR)[1:]
    assert lines[-1] == "[=====>              ]  25 %  1000 records read  105/s  28 s left"
    assert len(lines[-1]) < 80
    done = shown(run_on(io.StringIO(), Terminal()), share=1.7).split(CLEAR)[-1]
    assert done == f"[{'=' * 20}] 100 %  1000 records read  105/s"


@pytest.mark.parametrize(
    ("stdout", "stderr", "option"),
    [
        (io.StringIO(), io.StringIO(), None),
        (Terminal(), Terminal(), None),
        (io.StringIO(), Terminal(), "no_progress"),
        (io.StringIO(), Terminal(), "format"),
    ],
    ids=["stderr in a file", "records on the terminal", "--no-progress", "JSON"],
)
def test_nobody_sees_it_who_did_not_want_it(
    stdout: io.StringIO, stderr: io.StringIO, option: str | None
) -> None:
    assert shown(run_on(stdout, stderr, *([option] if option else []))) == ""


def test_it_goes_away() -> None:
    now = Now()
    err = Terminal()
    progress = Progress(run_on(io.StringIO(), err), "records", now=now)
    progress.end()
    assert err.getvalue() == ""
    now.seconds = 2.0
    progress.show(1)
    progress.end()
    assert err.getvalue().endswith(CLEAR)


def test_an_input_that_is_a_file_has_a_share(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(bytes(1000))
    with path.open("rb", buffering=0) as stream:
        stream.read(200)  # what was taken before is no part of it
        share = share_of_file(stream)
        assert share is not None
        assert share() == 0.0
        stream.read(200)
        assert share() == 0.25


def test_an_input_that_is_no_file_has_none() -> None:
    assert share_of_file(io.BytesIO(b"x")) is None
    with Path("/dev/null").open("rb") as nothing:
        assert share_of_file(nothing) is None
