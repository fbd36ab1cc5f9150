"""The public API's text, its generated code and its page agree."""

import importlib
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from api.rpc_surface import SERVED, STEPS
from model.errors import Outcome
from tests.buf import buf
from tidelog.v1 import common_pb2

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "proto/tidelog/v1").glob("*.proto"))


def module(proto: Path) -> ModuleType:
    return importlib.import_module(f"tidelog.v1.{proto.stem}_pb2")


def files() -> list[FileDescriptor]:
    return [module(proto).DESCRIPTOR for proto in PROTOS]


def messages(parent: FileDescriptor | Descriptor) -> Iterator[Descriptor]:
    nested = (
        parent.message_types_by_name.values()
        if isinstance(parent, FileDescriptor)
        else parent.nested_types
    )
    for message in nested:
        yield message
        yield from messages(message)


def enums() -> Iterator[EnumDescriptor]:
    for file in files():
        yield from file.enum_types_by_name.values()
        for message in messages(file):
            yield from message.enum_types


def calls() -> dict[str, bool]:
    """Return `Service/Call` to whether it changes nothing."""
    return {
        f"{service.name}/{method.name}": method.GetOptions().idempotency_level == 1
        for file in files()
        for service in file.services_by_name.values()
        for method in service.methods
    }


def test_the_table_of_steps_has_every_call_and_no_other() -> None:
    assert calls().keys() == STEPS.keys()
    assert len(STEPS) == 53


def test_the_page_lists_every_call_with_step_and_state() -> None:
    page = (ROOT / "docs/reference/rpcs.md").read_text()
    listed = {}
    for section in page.split("\n## ")[1:]:
        for name, step, state in re.findall(
            r"^\| `(\w+)` \| [^|]+ \| (\d) \| ([^|]+) \|", section, re.MULTILINE
        ):
            listed[f"{section.split()[0]}/{name}"] = (int(step), state)
    assert listed == {
        call: (step, "served" if call in SERVED else "`NOT_IMPLEMENTED`")
        for call, step in STEPS.items()
    }


def test_no_field_number_or_name_is_used_twice() -> None:
    seen = 0
    for file in files():
        for message in messages(file):
            numbers = Counter(field.number for field in message.fields)
            names = Counter(field.name.replace("_", "") for field in message.fields)
            assert max([*numbers.values(), *names.values(), 0]) <= 1, message.full_name
            # A number left out is one that was taken back and must be reserved by name.
            assert sorted(numbers) == list(range(1, len(numbers) + 1)), message.full_name
            seen += 1
    assert seen > 150


def test_zero_is_the_unspecified_value_of_every_enum() -> None:
    for enum in enums():
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED"), enum.full_name
        prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
        assert all(value.name.startswith(prefix) for value in enum.values), enum.full_name


def test_what_only_reads_says_so() -> None:
    reads = re.compile(r"/(Get|List|Read|Watch|Fetch|Subscribe|Resolve)")
    assert {call for call, safe in calls().items() if safe} == {
        call for call in calls() if reads.search(call)
    }


def test_what_deletes_can_be_tried_first() -> None:
    for file in files():
        for message in messages(file):
            if (
                re.match(r"(Delete|Remove)\w+Request$", message.name)
                and "Voter" not in message.name
            ):
                if message.name == "DeleteStreamRequest":
                    continue  # it is guarded by the version that is expected
                assert "validate_only" in message.fields_by_name, message.name


def test_the_outcomes_of_the_wire_are_those_of_the_model() -> None:
    names = {name.removeprefix("OUTCOME_") for name in common_pb2.Outcome.keys()}
    assert names - {"UNSPECIFIED"} == Outcome.__members__.keys()


def test_the_descriptors_load_into_a_pool_of_their_own() -> None:
    pool = DescriptorPool()
    added: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name not in added:
            added.add(file.name)
            for dependency in file.dependencies:
                add(dependency)
            pool.AddSerializedFile(file.serialized_pb)

    for file in files():
        add(file)
    methods = {
        f"{name}/{method}"
        for name in {call.partition("/")[0] for call in STEPS}
        for method in pool.FindServiceByName(f"tidelog.v1.{name}").methods_by_name
    }
    assert methods == STEPS.keys()


def test_generated_code_is_fresh() -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools generates; `make check` has it")
    from tools import gen_proto  # noqa: PLC0415

    assert gen_proto.main(["--check"]) == 0


def test_a_stale_missing_or_left_over_file_is_found() -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools generates; `make check` has it")
    from tools.gen_proto import stale  # noqa: PLC0415

    fresh = {"a": b"1", "b": b"2", "c": b"3"}
    assert stale({"a": b"1", "b": b"other", "d": b"4"}, fresh) == ["b", "c", "d"]


def test_the_reference_pages_are_fresh(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools reads the comments; `make check` has it")
    from tools.gen_docs import FILES, PAGES, stale  # noqa: PLC0415

    assert stale(ROOT) == {}
    shutil.copytree(ROOT / "docs/reference", tmp_path / "docs/reference")
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "docs/reference/errors.md").write_text("another")
    (tmp_path / "docs/reference/rpcs.md").unlink()
    assert stale(tmp_path).keys() == {"docs/reference/errors.md", "docs/reference/rpcs.md"}
    assert len(PAGES) >= 3


def test_buf_finds_no_fault() -> None:
    done = subprocess.run([buf(), "lint"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
