"""Every bound stands in one table, under one name, with its reason."""

from model import limits
from model.limits import LIMITS, Limit
from model.settings import Unit


def test_every_constant_is_in_the_table_under_its_own_name() -> None:
    constants = {name: value for name, value in vars(limits).items() if isinstance(value, Limit)}
    assert [name.lower() for name in constants] == [row.name for row in LIMITS]
    assert len(LIMITS) == len({row.name for row in LIMITS}) > 40


def test_every_name_says_its_unit_and_every_row_a_reason() -> None:
    for row in LIMITS:
        assert row.unit is Unit.COUNT or row.unit in row.name.split("_"), row.name
        assert row.value > 0
        assert row.reason.endswith(".") and "|" not in row.reason


def test_bounds_that_depend_on_each_other() -> None:
    assert limits.BATCH_BYTES_DEFAULT.value <= limits.BATCH_BYTES_MAX.value
    # One batch always fits one message, and one message always fits what clients accept.
    assert limits.BATCH_BYTES_MAX.value <= limits.FETCH_BYTES_MAX.value
    assert limits.FETCH_BYTES_MAX.value < limits.GRPC_ANSWER_BYTES_MAX.value < 4 << 20
    assert limits.BATCH_BYTES_MAX.value < limits.GRPC_REQUEST_BYTES_MAX.value
    assert limits.GRPC_REQUEST_BYTES_MAX.value <= limits.REQUEST_BYTES_MAX.value
    assert limits.CONNECTIONS_PER_ADDRESS_MAX.value < limits.CONNECTIONS_MAX.value


def test_what_the_promises_name() -> None:
    promised = {
        "request_bytes_max": 16 << 20,
        "unauthenticated_request_bytes_max": 64 << 10,
        "batch_decompressed_bytes_max": 64 << 20,
        "connections_max": 2_000,
        "connections_per_address_max": 200,
        "streams_per_connection_max": 100,
        "requests_in_flight_per_connection_max": 100,
        "producer_ids_per_node_max": 1_000_000,
        "name_characters_max": 249,
        "handshake_ms_max": 10_000,
        "memory_budget_percent_default": 25,
        "file_descriptors_percent_max": 90,
        "disk_reserve_percent": 5,
        "disk_reserve_bytes": 1 << 30,
    }
    assert promised.items() <= {row.name: row.value for row in LIMITS}.items()


def test_the_page_has_every_bound() -> None:
    page = limits.reference()
    assert "| `batch_bytes_max` | 3,145,728 | bytes | max.message.bytes can be raised" in page
    assert page.count("\n") == len(LIMITS) + 1
