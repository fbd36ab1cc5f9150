"""What is frozen of the public API: `proto/frozen/api.binpb`, and whether the API still keeps it.

`python -m tools.frozen_proto` lists what was broken; `--freeze` takes in what has been added since,
and refuses while anything is broken. The image is a FileDescriptorSet, so that `buf breaking proto
--against proto/frozen/api.binpb` reads it too. It holds the calls that a step has made real, and
every message and enum that such a call can carry; what all steps share stands in `common.proto`.
"""

import sys
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
)

from api.rpc_surface import STEPS, Step

ROOT: Final = Path(__file__).parent.parent
FROZEN: Final = ROOT / "proto/frozen/api.binpb"
SHARED: Final = "tidelog/v1/common.proto"
OURS: Final = "tidelog/v1/"

Facts = dict[str, str]
"""What a client relies on: the name of a thing in the API, and what is said of it."""


def files() -> list[FileDescriptor]:
    """Return the API as the generated code has it."""
    names = sorted(path.stem for path in (ROOT / "proto/tidelog/v1").glob("*.proto"))
    return [import_module(f"tidelog.v1.{name}_pb2").DESCRIPTOR for name in names]


def image(until: Step) -> FileDescriptorSet:
    """Return what is to be frozen once the steps up to this one are real."""
    ours = files()
    calls = {
        method.full_name: method
        for file in ours
        for service in file.services_by_name.values()
        for method in service.methods
        if STEPS[f"{service.name}/{method.name}"] <= until
    }
    roots: list[Descriptor | EnumDescriptor] = []
    for file in ours:
        if file.name == SHARED:
            roots += [*file.message_types_by_name.values(), *file.enum_types_by_name.values()]
    for method in calls.values():
        roots += [method.input_type, method.output_type]
    kept = _reached(roots)
    cut = [_cut(file, kept=kept, calls=calls.keys()) for file in ours]
    cut = [file for file in cut if file.message_type or file.enum_type or file.service]
    by_name = {file.name: file for file in [*_imports(cut), *cut]}
    order = TopologicalSorter({name: by_name[name].dependency for name in by_name})
    return FileDescriptorSet(file=[by_name[name] for name in order.static_order()])


def _reached(roots: Iterable[Descriptor | EnumDescriptor]) -> set[str]:
    """Return the full names of the outermost messages and enums that the roots can carry."""
    kept: set[str] = set()
    ahead = list(roots)
    while ahead:
        found = ahead.pop()
        while found.containing_type is not None:
            found = found.containing_type
        if found.full_name in kept or not found.file.name.startswith(OURS):
            continue
        kept.add(found.full_name)
        inside = [found] if isinstance(found, Descriptor) else []
        while inside:
            message = inside.pop()
            inside += message.nested_types
            for field in message.fields:
                ahead += [one for one in (field.message_type, field.enum_type) if one is not None]
    return kept


def _cut(file: FileDescriptor, *, kept: set[str], calls: Iterable[str]) -> FileDescriptorProto:
    """Return a file without what is not frozen yet."""
    whole, calls = FileDescriptorProto(), set(calls)
    file.CopyToProto(whole)
    cut = FileDescriptorProto(
        name=whole.name, package=whole.package, syntax=whole.syntax, options=whole.options
    )
    cut.message_type.extend(m for m in whole.message_type if f"{whole.package}.{m.name}" in kept)
    cut.enum_type.extend(e for e in whole.enum_type if f"{whole.package}.{e.name}" in kept)
    for service in whole.service:
        name = f"{whole.package}.{service.name}"
        methods = [method for method in service.method if f"{name}.{method.name}" in calls]
        if methods:
            cut.service.add(name=service.name, options=service.options, method=methods)
    used = {_file_of(name) for name in _types_named(cut)} - {whole.name}
    cut.dependency.extend(name for name in whole.dependency if name in used)
    for message in _messages(cut.message_type):
        for field in message.field:  # generated code leaves out what follows from the name
            field.json_name = field.json_name or _camel(field.name)
    return cut


def _camel(name: str) -> str:
    """Return a field's name in JSON, as protobuf derives it."""
    first, *others = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def _types_named(file: FileDescriptorProto) -> Iterator[str]:
    for message in _messages(file.message_type):
        yield from (field.type_name for field in message.field if field.type_name)
    for service in file.service:
        for method in service.method:
            yield from (method.input_type, method.output_type)


def _messages(messages: Iterable[DescriptorProto]) -> Iterator[DescriptorProto]:
    for message in messages:
        yield message
        yield from _messages(message.nested_type)


def _file_of(type_name: str) -> str:
    pool, name = files()[0].pool, type_name.removeprefix(".")
    return str(pool.FindFileContainingSymbol(name).name)


def _imports(ours: Iterable[FileDescriptorProto]) -> list[FileDescriptorProto]:
    """Return the files of protobuf itself that ours import; none of those imports another."""
    names = {name for file in ours for name in file.dependency if not name.startswith(OURS)}
    found = []
    for name in sorted(names):
        found.append(FileDescriptorProto())
        files()[0].pool.FindFileByName(name).CopyToProto(found[-1])
    return found


def facts(api: FileDescriptorSet) -> Facts:
    """Return everything that may not change, each under the name by which an error shows it."""
    found: Facts = {}
    for file in api.file:
        if not file.name.startswith(OURS):
            continue
        for message in file.message_type:
            found |= _message_facts(f"{file.package}.{message.name}", message, file.name)
        for enum in file.enum_type:
            found |= _enum_facts(f"{file.package}.{enum.name}", enum, file.name)
        for service in file.service:
            name = f"{file.package}.{service.name}"
            found[f"service {name}"] = f"in {file.name}"
            found |= {f"call {name}/{m.name}": _signature(m) for m in service.method}
    return found


def _message_facts(name: str, message: DescriptorProto, where: str) -> Facts:
    found = {f"message {name}": f"in {where}"}
    for field in message.field:
        in_oneof = field.HasField("oneof_index") and not field.proto3_optional
        group = f" in oneof {message.oneof_decl[field.oneof_index].name}" if in_oneof else ""
        json = "" if field.json_name in {"", _camel(field.name)} else f", {field.json_name} in JSON"
        found[f"field {field.number} of {name}"] = f"{_typed(field)} {field.name}{group}{json}"
    for taken in message.reserved_range:
        found[f"numbers {taken.start} to {taken.end - 1} of {name}"] = "reserved"
    found |= {f"name {taken} of {name}": "reserved" for taken in message.reserved_name}
    for nested in message.nested_type:
        found |= _message_facts(f"{name}.{nested.name}", nested, where)
    for enum in message.enum_type:
        found |= _enum_facts(f"{name}.{enum.name}", enum, where)
    return found


def _enum_facts(name: str, enum: EnumDescriptorProto, where: str) -> Facts:
    found = {f"enum {name}": f"in {where}"}
    return found | {f"value {value.number} of {name}": value.name for value in enum.value}


def _typed(field: FieldDescriptorProto) -> str:
    """Return a field's type as the proto file says it, with its label if it has one."""
    label = "optional " if field.proto3_optional else ""
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        label = "repeated "
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"{label}{field.type_name.removeprefix('.') or kind}"


def _signature(call: MethodDescriptorProto) -> str:
    asked, answered = call.input_type.removeprefix("."), call.output_type.removeprefix(".")
    asked = f"stream {asked}" if call.client_streaming else asked
    answered = f"stream {answered}" if call.server_streaming else answered
    level = MethodOptions.IdempotencyLevel.Name(call.options.idempotency_level)
    return f"({asked}) returns ({answered}), {level}"


def broken(frozen: Facts, now: Facts) -> list[str]:
    """Return what was frozen and is not so any more, a line each; additions break nothing."""
    lines = []
    for name, said in sorted(frozen.items()):
        if name not in now:
            lines.append(f"{name}: was `{said}` and is gone")
        elif now[name] != said:
            lines.append(f"{name}: was `{said}` and is now `{now[name]}`")
    return lines


def current() -> FileDescriptorSet:
    """Return the whole API, all steps, as the generated code has it."""
    found = FileDescriptorSet()
    for file in files():
        file.CopyToProto(found.file.add())
    return found


def main(arguments: list[str], *, path: Path = FROZEN) -> int:
    """Compare, or take in what is new; fail while something frozen is broken."""
    if arguments not in ([], ["--freeze"]):
        sys.stderr.write("usage: python -m tools.frozen_proto [--freeze]\n")
        return 2
    frozen = FileDescriptorSet.FromString(path.read_bytes())
    lines = broken(facts(frozen), facts(current()))
    for line in lines:
        sys.stdout.write(f"{line}; a client relies on it: put it back\n")
    if arguments and not lines:
        fresh = image(Step.CLUSTER)
        path.write_bytes(fresh.SerializeToString(deterministic=True))
        added = len(facts(fresh)) - len(facts(frozen))
        sys.stdout.write(
            f"{path.name}: {len(facts(fresh))} facts are frozen, {added} of them new\n"
        )
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
