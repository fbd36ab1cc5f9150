"""From a program's values to the bytes of a key or value, and back.

A codec is any object with `encode` and `decode`; its type flows to `record.key` and `record.value`.
None is not a codec's matter: it is null in the log, on the way in and on the way out.
"""

from typing import Any, Final, Protocol, overload

from typing_extensions import TypeVar

T = TypeVar("T")
_M = TypeVar("_M", bound="_Message")


class Codec(Protocol[T]):
    """Turns values into bytes and back."""

    def encode(self, value: T, /) -> bytes:
        """Return the bytes of a value."""
        ...

    def decode(self, data: bytes, /) -> T:
        """Return the value of bytes; any exception is passed on to whoever reads the record."""
        ...


class _Bytes:
    def encode(self, value: bytes, /) -> bytes:
        if isinstance(value, bytes):
            return value
        if isinstance(value, bytearray | memoryview):
            return bytes(value)
        raise TypeError(
            f"a key or value is {type(value).__name__}, not bytes; name a codec, such as "
            "value=tidelog.UTF8 or value=tidelog.json(Order)"
        )

    def decode(self, data: bytes, /) -> bytes:
        return data


class _Utf8:
    def encode(self, value: str, /) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"tidelog.UTF8 takes str, not {type(value).__name__}")
        return value.encode()

    def decode(self, data: bytes, /) -> str:
        return data.decode()


BYTES: Final[Codec[bytes]] = _Bytes()
"""Bytes as they are: the default of keys and values."""
UTF8: Final[Codec[str]] = _Utf8()
"""Text."""


class _Json:
    def __init__(self, tp: Any) -> None:
        import msgspec  # noqa: PLC0415 - `import tidelog` is to be quick

        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(tp)

    def encode(self, value: Any, /) -> bytes:
        return self._encoder.encode(value)

    def decode(self, data: bytes, /) -> Any:
        return self._decoder.decode(data)


@overload
def json(tp: type[T], /) -> Codec[T]: ...
@overload
def json() -> Codec[Any]: ...
def json(tp: Any = Any, /) -> Codec[Any]:
    """Return the codec of JSON for a type: a dataclass, TypedDict, msgspec.Struct, list, ...

    What is read is checked against the type: `msgspec.ValidationError`, a ValueError, says what
    does not fit and where. Without a type it is what JSON has: dict, list, str, float, ...
    """
    return _Json(tp)


class _Message(Protocol):
    """A protobuf message."""

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...  # noqa: N802

    @classmethod
    def FromString(cls: type[_M], s: bytes, /) -> _M: ...  # noqa: N802


class _Protobuf(Codec[_M]):
    def __init__(self, tp: type[_M]) -> None:
        self._type = tp

    def encode(self, value: _M, /) -> bytes:
        return value.SerializeToString()

    def decode(self, data: bytes, /) -> _M:
        return self._type.FromString(data)


def protobuf(tp: type[_M], /) -> Codec[_M]:
    """Return the codec of a generated protobuf message."""
    return _Protobuf(tp)
