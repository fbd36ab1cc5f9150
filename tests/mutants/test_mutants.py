"""The list of planted faults fits the tree, and the way they are judged tells them apart.

`make mutants` runs all of them; here one of each area is run, with the quickest tests.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from tools.mutant_list import FIELDS, ROOT, Fault, MutantListError, load, planted, wrong_with
from tools.mutants import Verdict, chosen, copied, judged, layers

LIST = load(ROOT)
LEAST = 30
LEAST_OF = (
    "time_lookup", "index", "journal", "recovery", "producer_sequences", "retention",
    "high_watermark", "limits", "groups", "state_partitions", "consumer", "elections", "raft",
    "replication", "peer",
)  # fmt: skip
ONE_OF_EACH = (
    "given-back-while-in-hand", "moved-log-start-ignored", "witness-not-asked", "salt-not-compared",
    "clean-stop-believed-twice", "sequences-do-not-wrap", "doubtful-clock-believed",
    "older-stream-heard", "ack-one-early", "congested-only-when-full", "vote-not-saved",
    "answer-before-commit", "refusals-alone-are-proof", "half-is-a-majority",
    "gap-accepted", "outcome-of-the-name", "silence-is-proof", "said-on-half-a-pair",
    "leads-before-it-knows", "heard-in-anothers-name",
)  # fmt: skip
HARMLESS = Fault(
    area="none",
    name="harmless",
    file="logstore/retention.py",
    old="    start = log_start\n",
    new="    start = log_start + 0\n",
    test="tests/unit/logstore/test_retention.py::test_the_edges",
    breaks="Nothing.",
    promise="P38",
)


@pytest.mark.parametrize("fault", LIST, ids=lambda fault: fault.name)
def test_every_fault_can_be_planted(fault: Fault) -> None:
    assert list(wrong_with(fault, ROOT)) == []


def test_there_are_enough_and_in_every_area() -> None:
    assert len(LIST) >= LEAST
    areas = [fault.area for fault in LIST]
    assert {area: areas.count(area) for area in LEAST_OF if areas.count(area) < 3} == {}


def test_one_of_each_area_is_run_here() -> None:
    assert [f.area for f in chosen(LIST, ONE_OF_EACH)] == sorted({f.area for f in LIST})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"file": "logstore/gone.py"}, "there is no logstore/gone.py"),
        ({"old": "segment"}, "times in logstore/retention.py; name a place"),
        ({"old": "no such line"}, "stands 0 times"),
        ({"new": HARMLESS.old}, "one line differs"),
        ({"new": "    start = log_start\n    start += 0\n    start -= 0\n"}, "one line differs"),
        ({"new": "    start = (\n"}, "does not compile"),
        ({"test": "tests/unit/logstore/test_retention.py::test_gone"}, "there is no tests/unit"),
        ({"test": "tests/unit/logstore/gone.py::test_the_edges"}, "there is no tests/unit"),
        ({"promise": "P99"}, "has no P99"),
    ],
)
def test_what_cannot_be_planted_is_named(change: dict[str, str], why: str) -> None:
    assert list(wrong_with(HARMLESS, ROOT)) == []
    assert why in " ".join(wrong_with(replace(HARMLESS, **change), ROOT))


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ('[[fault]]\nname = "a"\n', "give it the texts"),
        ("[[fault]]\n" + "".join(f'{k} = "A b"\n' for k in FIELDS), "small-words"),
        (2 * ("[[fault]]\n" + "".join(f'{k} = "a"\n' for k in FIELDS)), "stands twice"),
    ],
)
def test_a_list_that_is_not_whole_is_refused(tmp_path: Path, page: str, why: str) -> None:
    folder = tmp_path / "tests/mutants"
    folder.mkdir(parents=True)
    (folder / "area.toml").write_text(page)
    with pytest.raises(MutantListError, match=why):
        load(tmp_path)


def test_a_name_that_is_nobodys_is_refused() -> None:
    with pytest.raises(MutantListError, match="no fault and no area nobody"):
        chosen(LIST, ["nobody"])


def test_faults_of_one_file_are_never_typed_together() -> None:
    found = layers(LIST)
    assert sorted(fault.name for layer in found for fault in layer) == sorted(
        fault.name for fault in LIST
    )
    assert all(len({fault.file for fault in layer}) == len(layer) for layer in found)


def test_the_copy_is_sound_again_behind_a_fault(tmp_path: Path) -> None:
    path = tmp_path / HARMLESS.file
    path.parent.mkdir()
    sound = (ROOT / HARMLESS.file).read_text()
    path.write_text(sound)
    with pytest.raises(KeyError), planted(HARMLESS, tmp_path):
        assert HARMLESS.new in path.read_text()
        raise KeyError
    assert path.read_text() == sound


@pytest.mark.slow
def test_one_fault_of_each_area_is_caught_and_what_is_none_survives(tmp_path: Path) -> None:
    tree = copied(ROOT, tmp_path / "tree")
    verdicts = {f.name: judged(f, tree).verdict for f in chosen(LIST, ONE_OF_EACH)}
    assert verdicts == dict.fromkeys(verdicts, Verdict.CAUGHT)
    assert len(verdicts) == len(ONE_OF_EACH)
    assert judged(HARMLESS, tree).verdict is Verdict.SURVIVED
    no_test = replace(HARMLESS, test=f"{HARMLESS.test}_gone")
    assert judged(no_test, tree).verdict is Verdict.BROKEN
