"""The metadata log's files, byte for byte; every damaged byte is noticed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.raft import entry as entries
from cluster.raft import log_file, quorum_state, snapshot
from cluster.raft.entry import Entry, EntryKind
from cluster.raft.log_file import FileHead
from cluster.raft.quorum_state import QuorumState
from cluster.raft.snapshot import Snapshot
from cluster.raft.voters import (
    Configuration,
    Voter,
    decode_configuration,
    encode_configuration,
    encode_voters,
)
from model.errors import DirectoryRefused, MalformedError
from model.ids import Index, NodeId, Term
from tests.datadriven import Command, run_script

SALT = bytes(range(1, 9))
ME = Voter(NodeId(0), bytes(range(16, 32)))
OTHER = Voter(NodeId(7), bytes(range(32, 48)))
STATE = QuorumState(term=Term(5), voted_for=NodeId(0), directory=ME.directory, voters=(ME, OTHER))
HEAD = FileHead(first_index=Index(12), term_before=Term(4), salt=SALT)
TAKEN = Snapshot(
    last_index=Index(11), last_term=Term(4), voters=(ME,), payload=bytes.fromhex("0000000601020304")
)
LEADER = Entry(Term(5), Index(12), EntryKind.LEADER, b"")
RECORDS = Entry(Term(5), Index(13), EntryKind.RECORDS, b"records")
VOTERS = Entry(Term(5), Index(14), EntryKind.VOTERS, encode_voters((ME,)))
QUORUM = Configuration((ME,), (OTHER,))
LEARNER = Entry(Term(5), Index(15), EntryKind.VOTERS, encode_configuration(QUORUM))
TAKEN_LATER = replace(TAKEN, learners=(OTHER,))


def encoded(entry: Entry) -> bytes:
    return entries.encode(entry, synced=Index(12), salt=SALT)


FILES: dict[str, tuple[object, bytes, Callable[[bytes], object]]] = {
    "quorum_state": (STATE, quorum_state.encode(STATE), quorum_state.decode),
    "head": (HEAD, log_file.encode_head(HEAD), log_file.decode_head),
    "snapshot": (TAKEN, snapshot.encode(TAKEN), snapshot.decode),
    "leader": (LEADER, encoded(LEADER), lambda file: entries.decode(file, 0, salt=SALT).entry),
    "records": (RECORDS, encoded(RECORDS), lambda file: entries.decode(file, 0, salt=SALT).entry),
    "learner": (LEARNER, encoded(LEARNER), lambda file: entries.decode(file, 0, salt=SALT).entry),
    "snapshot_with_a_learner": (TAKEN_LATER, snapshot.encode(TAKEN_LATER), snapshot.decode),
    "voters": (VOTERS, encoded(VOTERS), lambda file: entries.decode(file, 0, salt=SALT).entry),
}


def execute(command: Command) -> str:
    """Print a sample and its bytes, 32 a line."""
    sample, content, _ = FILES[command.name]
    text = content.hex()
    return "\n".join([repr(sample), *(text[at : at + 64] for at in range(0, len(text), 64))])


def test_script(scripts: Path, rewrite: bool) -> None:
    run_script(scripts / "metadata/log.txt", execute, rewrite=rewrite)


@pytest.mark.parametrize("name", FILES)
def test_what_is_written_is_read_and_no_byte_can_change(name: str) -> None:
    sample, content, decode = FILES[name]
    assert decode(content) == sample
    for at in range(len(content)):
        for change in (1, 0x80, 0xFF):
            damaged = content[:at] + bytes([content[at] ^ change]) + content[at + 1 :]
            with pytest.raises(MalformedError):
                decode(damaged)
        with pytest.raises(MalformedError):
            decode(content[:at])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_a_run_of_equal_bytes_never_parses(name: str, byte: bytes) -> None:
    with pytest.raises(MalformedError):
        FILES[name][2](byte * 200)


def test_a_quorum_has_voters_and_none_twice() -> None:
    for voters in ((), (ME, ME)):
        state = QuorumState(term=Term(1), voted_for=None, directory=ME.directory, voters=voters)
        with pytest.raises(MalformedError, match="voters"):
            quorum_state.decode(quorum_state.encode(state))


def test_a_configuration_has_voters_before_learners_and_no_node_twice() -> None:
    assert decode_configuration(encode_configuration(QUORUM), at=0) == QUORUM
    again = Voter(OTHER.node, ME.directory)
    learner, voter = encode_configuration(QUORUM)[20:], encode_voters((ME,))
    for rows in (
        learner,
        learner + voter,
        encode_configuration(Configuration((ME, OTHER), (again,))),
        voter[:-1],
        b"",
    ):
        with pytest.raises(MalformedError, match="voters"):
            decode_configuration(rows, at=0)


def test_an_entry_claims_only_what_was_durable_before() -> None:
    with pytest.raises(AssertionError, match="RAFT_SYNCED_IS_PAST"):
        entries.encode(LEADER, synced=Index(13), salt=SALT)
    with pytest.raises(AssertionError, match="RAFT_SALT_IS_8_BYTES"):
        entries.encode(LEADER, synced=Index(12), salt=SALT[1:])
    with pytest.raises(AssertionError, match="RAFT_ENTRY_FITS"):
        long = Entry(Term(5), Index(12), EntryKind.RECORDS, bytes(entries.ENTRY_BYTES_MAX))
        entries.encode(long, synced=Index(12), salt=SALT)


def test_a_later_entry_tells_rot_from_a_torn_tail() -> None:
    first = encoded(LEADER)
    for synced, rot in ((12, False), (13, True)):
        file = bytes(len(first)) + entries.encode(RECORDS, synced=Index(synced), salt=SALT)
        assert entries.was_synced(file, 0, Index(12), salt=SALT) is rot


@pytest.mark.parametrize("module", [log_file, quorum_state, snapshot], ids=lambda m: m.__name__)
def test_a_newer_version_is_refused_whole(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    name = {log_file: "head", quorum_state: "quorum_state", snapshot: "snapshot"}[module]  # type: ignore[index]
    sample, _, decode = FILES[name]
    monkeypatch.setattr(module, "VERSION", 2)
    encode = getattr(module, "encode_head" if module is log_file else "encode")
    newer = encode(sample)
    monkeypatch.undo()
    with pytest.raises(DirectoryRefused) as refused:
        decode(newer)
    assert refused.value.exit_code == 13
