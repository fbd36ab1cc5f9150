"""The table of what is served: its page, its answer, and that every version has a codec."""

from pathlib import Path

import pytest

from api.kafka.apis import load_schemas, reference, served_apis
from api.kafka.k18_api_versions import KEY, VERSION_MAX
from api.kafka_settings import KafkaSettings
from tests.kafka_door import Script, request
from tests.kafka_messages import foreign_class, read_entity

PAGE = Path(__file__).parents[4] / "docs/reference/kafka-api.md"
APIS = served_apis(KafkaSettings())


def test_the_page_has_the_table() -> None:
    assert reference(APIS) in PAGE.read_text()


def test_every_served_version_has_a_codec() -> None:
    load_schemas(APIS)


def asked(version: int, body: bytes) -> bytes:
    """Return the body of the answer to an ApiVersions request."""
    script = Script()
    tagged = version >= 3
    script.send(request(KEY, version, 9, body, tagged=tagged))
    ((correlation_id, answer),) = script.answered
    assert correlation_id == 9
    return answer


@pytest.mark.parametrize("version", range(VERSION_MAX + 1))
def test_api_versions_tells_the_table_under_a_header_of_v0(version: int) -> None:
    body = b"\x05kcat\x061.7.1\x00" if version >= 3 else b""
    answer = asked(version, body)
    read = read_entity(KEY, version, answer)
    told = [(row["api_key"], row["min_version"], row["max_version"]) for row in read["api_keys"]]
    assert read["error_code"] == 0
    assert told == [(0, 2, 9), (1, 2, 9), (3, 2, 9), (18, 0, 4)]  # the door's own table
    assert read.get("finalized_features", []) == read.get("supported_features", []) == []
    foreign = foreign_class(KEY, "Response").decode(answer, version=version)
    assert len(foreign.api_keys) == len(told)


@pytest.mark.parametrize("name", [b"", b"-x", b"x-", b"a b", b"\xc3\xa9"])
def test_a_misspelt_software_name_is_refused(name: bytes) -> None:
    body = bytes([len(name) + 1]) + name + b"\x021\x00"
    assert read_entity(KEY, 3, asked(3, body))["error_code"] == 42
    assert asked(0, b"") == asked(0, b"anything behind it")


def test_the_real_table_is_advertised_as_the_page_has_it() -> None:
    script = Script(apis=APIS)
    script.send(request(KEY, 0, 1))
    rows = read_entity(KEY, 0, script.answered[0][1])["api_keys"]
    told = [f"| {row['min_version']}-{row['max_version']} |" for row in rows]
    page = reference(APIS).splitlines()[2:]
    assert len(told) == len(page)
    for row, versions, line in zip(rows, told, page, strict=True):
        assert line.startswith(f"| {row['api_key']} |")
        assert line.endswith(versions)
