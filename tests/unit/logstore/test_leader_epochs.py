"""The epoch table: where two logs part, what a cut and a trim leave, and its bytes."""

from pathlib import Path

import pytest

from logstore.leader_epochs import EpochStart, LeaderEpochs, decode, encode
from model.errors import MalformedError
from model.ids import LeaderEpoch, Offset
from tests.datadriven import Command, run_script


def table(*rows: tuple[int, int]) -> LeaderEpochs:
    return LeaderEpochs([EpochStart(LeaderEpoch(epoch), Offset(start)) for epoch, start in rows])


class Bench:
    """Runs script commands against one table."""

    def __init__(self) -> None:
        self.table = LeaderEpochs()

    def execute(self, command: Command) -> str:
        number = command.integer
        match command.name:
            case "append":
                try:
                    self.table.appended(LeaderEpoch(number("epoch")), Offset(number("offset")))
                except AssertionError as invariant:
                    return f"refused: {invariant}"
            case "cut":
                self.table.roll_back(Offset(number("offset")))
            case "trim":
                self.table.trim(Offset(number("offset")))
            case "end_of":
                found = self.table.end_of(LeaderEpoch(number("epoch")), Offset(number("log_end")))
                return "none" if found is None else f"epoch={found.epoch} end={found.start}"
            case "bytes":
                return encode(self.table).hex(" ", 4)
            case unknown:
                raise AssertionError(unknown)
        return " ".join(f"{row.epoch}@{row.start}" for row in self.table.rows) or "empty"


def test_script(scripts: Path, rewrite: bool) -> None:
    run_script(scripts / "leader_epochs/table.txt", Bench().execute, rewrite=rewrite)


@pytest.mark.parametrize(("offset", "epoch"), [(4, None), (5, 1), (11, 1), (12, 3), (99, 3)])
def test_each_record_has_the_epoch_that_wrote_it(offset: int, epoch: int | None) -> None:
    assert table((1, 5), (3, 12)).epoch_at(Offset(offset)) == epoch


def test_any_spoilt_byte_is_noticed() -> None:
    file = encode(table((1, 0), (2, 7)))
    assert decode(file).rows == table((1, 0), (2, 7)).rows
    for at in range(len(file)):
        with pytest.raises(MalformedError):
            decode(bytes([*file[:at], file[at] ^ 0x10, *file[at + 1 :]]))
        with pytest.raises(MalformedError):
            decode(file[:at])


@pytest.mark.parametrize("rows", [((2, 0), (1, 5)), ((1, 5), (2, 5))])
def test_rows_out_of_order_are_refused(rows: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(MalformedError, match="follows"):
        decode(encode(table(*rows)))


@pytest.mark.parametrize(
    ("known", "rows", "after"),
    [
        ([], [(2, 0), (4, 5)], [(2, 0), (4, 5)]),
        ([(4, 10)], [(2, 0), (4, 5)], [(2, 0), (4, 5)]),
        ([(5, 10)], [(2, 0), (4, 5)], [(2, 0), (4, 5), (5, 10)]),
        ([(1, 0), (5, 12)], [(1, 4), (2, 6), (5, 9)], [(1, 0), (2, 6), (5, 9)]),
        ([(1, 0), (2, 6), (5, 9)], [(1, 4), (2, 6), (5, 9)], [(1, 0), (2, 6), (5, 9)]),
        ([(1, 0), (3, 5)], [(1, 4), (2, 6)], [(1, 0), (2, 6)]),
        ([(3, 0)], [(1, 4), (2, 6)], [(3, 0)]),
    ],
    ids=["all", "the first", "before", "between", "nothing new", "a guess", "never falls"],
)
def test_epochs_of_a_stretch_are_learned_from_who_has_it(
    known: list[tuple[int, int]], rows: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    epochs = table(*known)
    epochs.learned(table(*rows).rows, Offset(10))
    assert epochs.rows == table(*after).rows
    assert epochs.changed is (known != after)


def test_what_was_cut_meanwhile_is_not_learned() -> None:
    """The log ends at 6 by now: what begins there is another leader's to say."""
    epochs = table((0, 0), (2, 5))
    epochs.learned(table((0, 0), (2, 5), (3, 8)).rows, Offset(6))
    assert epochs.rows == table((0, 0), (2, 5)).rows
    epochs.roll_back(Offset(0))
    epochs.learned(table((0, 4), (3, 8)).rows, Offset(0))
    assert not epochs.rows


@pytest.mark.parametrize("at", [6, 4, 0])
def test_a_cut_to_where_the_end_was_lost_leaves_a_log_that_is_whole(at: int) -> None:
    epochs = table((0, 0), (2, 5))
    epochs.lost_from = Offset(6)
    epochs.roll_back(Offset(7))
    assert epochs.lost_from == 6
    epochs.roll_back(Offset(at))
    assert epochs.lost_from is None
