"""What clients were built against stays: the frozen image of the API, and what would break it."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool

from api.rpc_surface import SERVED
from tests.buf import buf
from tools.frozen_proto import FROZEN, broken, current, facts, main

ROOT = Path(__file__).parents[2]


def frozen() -> FileDescriptorSet:
    return FileDescriptorSet.FromString(FROZEN.read_bytes())


def test_nothing_that_is_frozen_was_broken() -> None:
    assert broken(facts(frozen()), facts(current())) == []


def test_every_call_that_is_served_is_frozen_with_all_that_it_carries() -> None:
    pool = DescriptorPool()
    for file in frozen().file:  # a type that is missing would be refused here
        pool.AddSerializedFile(file.SerializeToString())
    calls = [name for name in facts(frozen()) if name.startswith("call ")]
    assert {name.removeprefix("call tidelog.v1.") for name in calls} >= SERVED
    for call in SERVED:
        service, method = call.split("/")
        assert method in pool.FindServiceByName(f"tidelog.v1.{service}").methods_by_name


def file_of(api: FileDescriptorSet, name: str) -> FileDescriptorProto:
    return next(file for file in api.file if file.name == f"tidelog/v1/{name}.proto")


def message(api: FileDescriptorSet, name: str) -> DescriptorProto:
    return next(m for file in api.file for m in file.message_type if m.name == name)


def field(api: FileDescriptorSet, of: str, name: str) -> FieldDescriptorProto:
    return next(one for one in message(api, of).field if one.name == name)


def enum(api: FileDescriptorSet, name: str) -> EnumDescriptorProto:
    return next(e for file in api.file for e in file.enum_type if e.name == name)


def service(api: FileDescriptorSet, name: str) -> ServiceDescriptorProto:
    return next(s for file in api.file for s in file.service if s.name == name)


def _renamed(api: FileDescriptorSet) -> None:
    field(api, "Cursor", "offset").name = "position"


def _renumbered(api: FileDescriptorSet) -> None:
    field(api, "Cursor", "offset").number = 99


def _retyped(api: FileDescriptorSet) -> None:
    field(api, "Cursor", "offset").type = FieldDescriptorProto.TYPE_UINT64


def _now_absent_when_default(api: FileDescriptorSet) -> None:
    field(api, "Header", "value").proto3_optional = False


def _one_instead_of_many(api: FileDescriptorSet) -> None:
    field(api, "Record", "headers").label = FieldDescriptorProto.LABEL_OPTIONAL


def _out_of_its_oneof(api: FileDescriptorSet) -> None:
    field(api, "Seek", "offset").ClearField("oneof_index")


def _another_name_in_json(api: FileDescriptorSet) -> None:
    field(api, "Cursor", "leader_epoch").json_name = "epoch"


def _no_message(api: FileDescriptorSet) -> None:
    file = file_of(api, "common")
    file.message_type.remove(message(api, "RecordId"))


def _elsewhere(api: FileDescriptorSet) -> None:
    moved = message(api, "RecordId")
    file_of(api, "log_service").message_type.append(moved)
    file_of(api, "common").message_type.remove(moved)


def _a_value_renamed(api: FileDescriptorSet) -> None:
    enum(api, "Clock").value[1].name = "CLOCK_HAPPENED"


def _a_value_gone(api: FileDescriptorSet) -> None:
    del enum(api, "Clock").value[2]


def _a_call_gone(api: FileDescriptorSet) -> None:
    log = service(api, "LogService")
    del log.method[[method.name for method in log.method].index("Fetch")]


def _a_call_streams(api: FileDescriptorSet) -> None:
    (fetch,) = [one for one in service(api, "LogService").method if one.name == "Fetch"]
    fetch.server_streaming = True


def _a_call_asks_for_something_else(api: FileDescriptorSet) -> None:
    (seek,) = [o for o in service(api, "ConsumerGroupService").method if o.name == "SeekOffsets"]
    seek.input_type = ".tidelog.v1.CommitOffsetsRequest"


FETCH = "(tidelog.v1.FetchRequest) returns ({}tidelog.v1.FetchResponse), NO_SIDE_EFFECTS"
BREAKS: dict[Callable[[FileDescriptorSet], None], list[str]] = {
    _renamed: [
        "field 3 of tidelog.v1.Cursor: was `int64 offset` and is now `int64 position`",
    ],
    _renumbered: ["field 3 of tidelog.v1.Cursor: was `int64 offset` and is gone"],
    _retyped: ["field 3 of tidelog.v1.Cursor: was `int64 offset` and is now `uint64 offset`"],
    _now_absent_when_default: [
        "field 2 of tidelog.v1.Header: was `optional bytes value` and is now "
        "`bytes value in oneof _value`",
    ],
    _one_instead_of_many: [
        "field 5 of tidelog.v1.Record: was `repeated tidelog.v1.Header headers` and is now "
        "`tidelog.v1.Header headers`",
    ],
    _out_of_its_oneof: [
        "field 2 of tidelog.v1.Seek: was `int64 offset in oneof to` and is now `int64 offset`",
    ],
    _another_name_in_json: [
        "field 4 of tidelog.v1.Cursor: was `optional int32 leader_epoch` and is now "
        "`optional int32 leader_epoch, epoch in JSON`",
    ],
    _no_message: [
        "field 1 of tidelog.v1.RecordId: was `string topic` and is gone",
        "field 2 of tidelog.v1.RecordId: was `int32 partition` and is gone",
        "field 3 of tidelog.v1.RecordId: was `int64 offset` and is gone",
        "message tidelog.v1.RecordId: was `in tidelog/v1/common.proto` and is gone",
    ],
    _elsewhere: [
        "message tidelog.v1.RecordId: was `in tidelog/v1/common.proto` and is now "
        "`in tidelog/v1/log_service.proto`",
    ],
    _a_value_renamed: [
        "value 1 of tidelog.v1.Clock: was `CLOCK_EVENT` and is now `CLOCK_HAPPENED`",
    ],
    _a_value_gone: ["value 2 of tidelog.v1.Clock: was `CLOCK_APPEND` and is gone"],
    _a_call_gone: [
        f"call tidelog.v1.LogService/Fetch: was `{FETCH.format('')}` and is gone",
    ],
    _a_call_streams: [
        f"call tidelog.v1.LogService/Fetch: was `{FETCH.format('')}` and is now "
        f"`{FETCH.format('stream ')}`",
    ],
    _a_call_asks_for_something_else: [
        "call tidelog.v1.ConsumerGroupService/SeekOffsets: was `(tidelog.v1.SeekOffsetsRequest) "
        "returns (tidelog.v1.SeekOffsetsResponse), IDEMPOTENCY_UNKNOWN` and is now "
        "`(tidelog.v1.CommitOffsetsRequest) returns (tidelog.v1.SeekOffsetsResponse), "
        "IDEMPOTENCY_UNKNOWN`",
    ],
}


@pytest.mark.parametrize("change", BREAKS, ids=lambda change: change.__name__.strip("_"))
def test_what_breaks_a_client_is_named(change: Callable[[FileDescriptorSet], None]) -> None:
    api = current()
    change(api)
    assert broken(facts(frozen()), facts(api)) == BREAKS[change]


def test_what_is_added_breaks_nobody() -> None:
    api = current()
    message(api, "Cursor").field.add(name="more", number=99, type=FieldDescriptorProto.TYPE_BOOL)
    enum(api, "Clock").value.add(name="CLOCK_THIRD", number=99)
    file_of(api, "common").message_type.add(name="Another")
    service(api, "LogService").method.add(
        name="Rewind",
        input_type=".tidelog.v1.FetchRequest",
        output_type=".tidelog.v1.FetchResponse",
    )
    assert broken(facts(frozen()), facts(api)) == []


def test_the_image_takes_in_what_is_new_and_never_what_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, older = tmp_path / "image.binpb", frozen()
    del message(older, "Cursor").field[5]
    path.write_bytes(older.SerializeToString())
    assert main(["--freeze"], path=path) == 0
    assert re.fullmatch(
        r"image\.binpb: \d+ facts are frozen, 1 of them new\n", capsys.readouterr().out
    )
    assert path.read_bytes() == FROZEN.read_bytes()
    _renamed(older)
    path.write_bytes(older.SerializeToString())
    assert main(["--freeze"], path=path) == 1
    assert "is now `int64 offset`; a client relies on it" in capsys.readouterr().out
    assert path.read_bytes() == older.SerializeToString()


def test_buf_finds_nothing_broken() -> None:
    command = [buf(), "breaking", "--against", str(FROZEN)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
