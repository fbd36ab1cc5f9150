"""The page of every gRPC call, from the comments in proto/ and the table of what is served."""

from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor_pb2 import (
    FileDescriptorProto,
    MethodDescriptorProto,
    MethodOptions,
    ServiceDescriptorProto,
)

from api.rpc_surface import SERVED, STEPS
from tools.gen_proto import descriptor_set

# The path of a comment in SourceCodeInfo is made of field numbers of descriptor.proto and places.
SERVICE_FIELD: Final = FileDescriptorProto.SERVICE_FIELD_NUMBER
METHOD_FIELD: Final = ServiceDescriptorProto.METHOD_FIELD_NUMBER

INTRODUCTION: Final = """\
Every call of `tidelog.v1`. The text of the API is `proto/tidelog/v1`; what a refused call answers
stands in [errors.md](errors.md). *Step* is the part of Tidelog that brings a call; *state* is what
this release does with it: `served`, or `NOT_IMPLEMENTED`, which is also what a field or enum value
of a later step is answered with when it is set. Calls that are served and everything that they
carry are frozen: fields, values and calls may join them, none changes its number, type or name, and
none goes (`proto/frozen/api.binpb`, which a test holds every change against; [more](stability.md)).
*Safe* calls change nothing and may be repeated freely.

The same port serves `grpc.health.v1.Health` ([health](health.md)) and, where
`listeners.grpc.reflection` is switched on, `grpc.reflection.v1alpha.ServerReflection`, by which
tools such as grpcurl learn the calls. `tidelog dev` has it on, `tidelog serve` off unless it is
set; the newer `grpc.reflection.v1` is not served."""


def page() -> str:
    """Return the whole page below its title, services in the order of `api.rpc_surface`."""
    order = list(dict.fromkeys(call.partition("/")[0] for call in STEPS))
    services = sorted(
        (
            (file, index, service)
            for file in descriptor_set().file
            for index, service in enumerate(file.service)
        ),
        key=lambda found: order.index(found[2].name),
    )
    return "\n\n".join([INTRODUCTION, *(_service(*found) for found in services)])


def _service(file: FileDescriptorProto, index: int, service: ServiceDescriptorProto) -> str:
    """Return the section of one service."""
    comments = _comments(file)
    rows = [
        "| call | shape | step | state | purpose |",
        "| --- | --- | ---: | --- | --- |",
        *(
            _row(
                service.name,
                method,
                comments.get((SERVICE_FIELD, index, METHOD_FIELD, number), ""),
            )
            for number, method in enumerate(service.method)
        ),
    ]
    about = comments.get((SERVICE_FIELD, index), "")
    return "\n\n".join([f"## {service.name}", about, "\n".join(rows)])


def _row(service: str, method: MethodDescriptorProto, purpose: str) -> str:
    """Return the row of one call."""
    call = f"{service}/{method.name}"
    state = "served" if call in SERVED else "`NOT_IMPLEMENTED`"
    purpose = purpose.removeprefix(f"{method.name} ")
    purpose = purpose[:1].upper() + purpose[1:]
    return f"| `{method.name}` | {_shape(method)} | {STEPS[call]} | {state} | {purpose} |"


def _shape(method: MethodDescriptorProto) -> str:
    """Return how a call travels."""
    arms = ("stream" if streaming else "one" for streaming in _streaming(method))
    safe = method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    return " to ".join(arms) + (", safe" if safe else "")


def _streaming(method: MethodDescriptorProto) -> tuple[bool, bool]:
    """Return whether request and answer are streams."""
    return method.client_streaming, method.server_streaming


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Return the comment above each thing, as one line that a table cell can hold."""
    return dict(_located(file))


def _located(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield path and comment."""
    for location in file.source_code_info.location:
        if location.leading_comments:
            text = " ".join(location.leading_comments.split())
            yield tuple(location.path), text.replace("|", "\\|")
