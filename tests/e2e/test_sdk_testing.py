"""`tidelog.testing`: a broker inside a test, with time and failures set by hand."""

import asyncio
import os
import re
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import tidelog
import tidelog.sync
from tests.kafka_node import Client
from tidelog import testing
from tidelog.testing.fixtures import tidelog_broker
from tidelog.testing.sync_fixtures import tidelog_sync_broker

__all__ = ["tidelog_broker", "tidelog_sync_broker"]
ROOT = Path(__file__).parents[2]
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


async def test_what_is_written_is_there_and_time_stands_still(
    tidelog_broker: testing.Broker,
) -> None:
    client = tidelog_broker.client
    await client.topics.create("orders", partitions=2)
    async with client.producer() as producer:
        first = await producer.send("orders", b"a", partition=1)
        await tidelog_broker.advance(timedelta(days=1), minutes=5)
        second = await producer.send("orders", b"b", partition=0)
    assert first.append_time == NEW_YEAR
    assert second.append_time == NEW_YEAR + timedelta(days=1, minutes=5) == tidelog_broker.now
    stored = await tidelog_broker.records("orders")
    assert [(record.value, record.timestamp) for record in stored] == [
        (b"b", tidelog_broker.now),
        (b"a", NEW_YEAR),
    ]
    hour = tidelog.TimeRange(start=timedelta(hours=1), clock="append")
    async with client.replay("orders", during=hour) as history:
        assert [record.value async for record in history] == [b"b"]


async def test_retention_deletes_when_its_time_has_come(tidelog_broker: testing.Broker) -> None:
    client = tidelog_broker.client
    config = {"retention.ms": "86400000", "segment.ms": "3600000"}
    await client.topics.create("orders", config=config)
    async with client.producer() as producer:
        await producer.send("orders", b"old")
        await tidelog_broker.advance(hours=2)
        await producer.send("orders", b"new")
        await tidelog_broker.advance(hours=23)
    left = await tidelog_broker.records("orders")
    assert [record.value for record in left] == [b"new"]


async def test_a_refusal_that_passes_does_not_show(tidelog_broker: testing.Broker) -> None:
    await tidelog_broker.client.topics.create("orders")
    tidelog_broker.fail_next("produce", "NOT_ENOUGH_REPLICAS", times=2)
    async with tidelog_broker.client.producer() as producer:
        assert (await producer.send("orders", b"v")).offset == 0
    assert len(await tidelog_broker.records("orders")) == 1


async def test_a_refusal_that_stays_is_raised(tidelog_broker: testing.Broker) -> None:
    await tidelog_broker.client.topics.create("orders")
    tidelog_broker.fail_next("produce", "TIMESTAMP_OUT_OF_RANGE")
    async with tidelog_broker.client.producer() as producer:
        with pytest.raises(tidelog.InvalidRequest, match="the test wants"):
            await producer.send("orders", b"v")
        await producer.send("orders", b"w")
    assert [record.value for record in await tidelog_broker.records("orders")] == [b"w"]
    with pytest.raises(ValueError, match="no reason 'NONSENSE'"):
        tidelog_broker.fail_next("produce", "NONSENSE")


async def test_connections_that_are_dropped_come_back(tidelog_broker: testing.Broker) -> None:
    client = tidelog_broker.client
    await client.topics.create("orders")
    url = tidelog_broker.url
    async with client.producer() as producer:
        await producer.send("orders", b"a")
        async with client.replay("orders") as history:
            assert (await anext(history)).value == b"a"
            await tidelog_broker.drop()
            await producer.send("orders", b"b")
            assert (await anext(history)).value == b"b"
    assert tidelog_broker.url == url
    assert len(await tidelog_broker.records("orders")) == 2


async def test_by_default_time_is_the_machines_and_topics_are_made_by_hand() -> None:
    async with testing.broker() as broker:
        with pytest.raises(ValueError, match="ask for a manual clock"):
            await broker.advance(seconds=1)
        with pytest.raises(tidelog.NotFound):
            await broker.records("orders")
    async with testing.broker(clock=testing.ManualClock(NEW_YEAR)) as broker:
        with pytest.raises(ValueError, match="does not run backwards"):
            await broker.advance(seconds=-1)
        async with tidelog.connect(broker.url) as another:
            await another.topics.create("orders")
        assert await broker.records("orders") == []


def test_it_costs_nothing_until_it_is_used_and_says_what_is_missing() -> None:
    code = (
        "import sys, asyncio, tidelog.testing\nfrom tidelog import _launcher\n"
        "assert not {'api', 'pytest'} & set(sys.modules)\n"
        "_launcher._ONLY_IN_SERVER = 'there_is_no_such_module'\n"
        "async def main():\n    async with tidelog.testing.broker(): pass\n"
        "asyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == (
        "ImportError: tidelog.testing runs a node, which cannot run here: "
        "pip install 'tidelog[server]'"
    )


@pytest.mark.parametrize("reason", ["REQUEST_TIMED_OUT", "LEADERSHIP_LOST"])
async def test_an_answer_that_is_lost_is_found_by_sending_again(
    tidelog_broker: testing.Broker, reason: str
) -> None:
    await tidelog_broker.client.topics.create("orders")
    tidelog_broker.fail_next("produce", reason, answer_lost=True)
    async with tidelog_broker.client.producer() as producer:
        ack = await producer.send("orders", b"v")
    assert (ack.offset, ack.duplicate) == (0, True)
    assert len(await tidelog_broker.records("orders")) == 1


async def test_without_idempotence_a_lost_answer_is_the_users_to_know(
    tidelog_broker: testing.Broker,
) -> None:
    await tidelog_broker.client.topics.create("orders")
    tidelog_broker.fail_next("produce", "LEADERSHIP_LOST", answer_lost=True)
    async with tidelog_broker.client.producer(idempotent=False) as producer:
        with pytest.raises(tidelog.OutcomeUnknown):
            await producer.send("orders", b"v")
    assert len(await tidelog_broker.records("orders")) == 1


async def test_a_call_whose_answer_is_lost_has_happened(tidelog_broker: testing.Broker) -> None:
    tidelog_broker.fail_next("create_topic", "REQUEST_TIMED_OUT", answer_lost=True)
    with pytest.raises(tidelog.OutcomeUnknown):
        await tidelog_broker.client.topics.create("orders")
    assert (await tidelog_broker.client.topics.get("orders")).partition_count == 1


async def test_a_reader_that_is_refused_for_now_comes_again(
    tidelog_broker: testing.Broker,
) -> None:
    await tidelog_broker.client.topics.create("orders")
    async with tidelog_broker.client.producer() as producer:
        await producer.send("orders", b"v")
    tidelog_broker.fail_next("subscribe", "OVERLOADED", times=2)
    assert [record.value for record in await tidelog_broker.records("orders")] == [b"v"]
    tidelog_broker.fail_next("subscribe", "CORRUPT_LOG")
    with pytest.raises(tidelog.DataCorrupt, match="the test wants"):
        await tidelog_broker.records("orders")


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (("produse", "OVERLOADED", False), "did you mean 'produce'"),
        (("teleport", "OVERLOADED", False), "there are .*subscribe"),
        (("produce", "OVERLOADED", True), "says what became of the call"),
        (("subscribe", "REQUEST_TIMED_OUT", True), r"see Broker\.drop"),
    ],
)
async def test_failures_that_cannot_be_are_refused(
    tidelog_broker: testing.Broker, failure: tuple[str, str, bool], told: str
) -> None:
    call, reason, lost = failure
    with pytest.raises(ValueError, match=told):
        tidelog_broker.fail_next(call, reason, answer_lost=lost)


@pytest.mark.parametrize("abruptly", [False, True])
async def test_a_connection_that_is_cut_does_not_show(
    tidelog_broker: testing.Broker, abruptly: bool
) -> None:
    client = tidelog_broker.client
    await client.topics.create("orders")
    async with client.producer() as producer, client.replay("orders") as history:
        for value in (b"a", b"b", b"c"):
            await producer.send("orders", value)
            assert (await anext(history)).value == value
            await tidelog_broker.drop(abruptly=abruptly)
    assert len(await tidelog_broker.records("orders")) == 3


async def test_no_port_is_taken_unless_it_is_asked_for(tidelog_broker: testing.Broker) -> None:
    assert tidelog_broker.url.startswith("tidelog+unix:///")
    assert listening() == set()
    with pytest.raises(ValueError, match=r"testing\.broker\(ports=True\)"):
        _ = tidelog_broker.kafka


def listening() -> set[int]:
    """Return the TCP ports on which this process listens (Linux: proc(5), tcp)."""
    links = (os.readlink(one) for one in Path("/proc/self/fd").glob("*") if one.is_symlink())
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]
    ]
    return {
        int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes
    }


@pytest.mark.parametrize("clock", [None, testing.ManualClock()])
async def test_clients_that_are_not_ours_come_by_ports(clock: testing.ManualClock | None) -> None:
    async with testing.broker(ports=True, clock=clock) as broker:
        grpc_port = int(broker.url.rpartition(":")[2])
        host, _, kafka_port = broker.kafka.partition(":")
        assert {grpc_port, int(kafka_port)} == listening()
        await broker.client.topics.create("orders")
        client = Client(*await asyncio.open_connection(host, int(kafka_port)))
        try:
            size = 1 << 20
            partition = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": size}
            topic = {"topic": "orders", "partitions": [partition]}
            fetch = {"max_wait": 50, "min_bytes": 1, "max_bytes": size, "topics": [topic]}
            answer = await client.ask(1, 4, replica_id=-1, isolation_level=0, **fetch)
        finally:
            await client.close()
        (row,) = answer["responses"][0]["partitions"]
        assert (row["error_code"], row["high_watermark"]) == (0, 0), "its own wait is over"


async def test_a_directory_keeps_what_was_written(tmp_path: Path) -> None:
    for number in range(2):
        clock = testing.ManualClock(NEW_YEAR + timedelta(days=number))
        async with testing.broker(directory=tmp_path / "data", clock=clock) as broker:
            await broker.client.topics.create("orders", exist_ok=True)
            async with broker.client.producer() as producer:
                assert (await producer.send("orders", b"v")).offset == number
    assert (tmp_path / "data").is_dir()


async def test_settings_of_the_node() -> None:
    async with (
        testing.broker(settings={"topic_defaults.retention.ms": "5000"}) as broker,
        broker.connect(client_id="another") as another,
    ):
        await another.topics.create("orders")
        assert (await another.topics.config("orders"))["retention.ms"].value == "5000"
    with pytest.raises(ValueError, match="auto_craete"):
        async with testing.broker(settings={"topics.auto_craete": "true"}):
            pass


async def test_brokers_beside_each_other_know_nothing_of_each_other() -> None:
    async with testing.broker() as one, testing.broker() as other:
        await one.client.topics.create("orders")
        with pytest.raises(tidelog.NotFound):
            await other.client.topics.get("orders")


async def test_nothing_is_left_behind() -> None:
    threads = threading.active_count()
    async with testing.broker() as broker:
        folder = Path(broker.url.removeprefix("tidelog+unix://")).parent
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    assert threading.active_count() <= threads


def test_the_same_without_an_event_loop(tidelog_sync_broker: testing.SyncBroker) -> None:
    broker = tidelog_sync_broker
    broker.client.topics.create("orders")
    with broker.client.producer() as producer:
        broker.fail_next("produce", "OVERLOADED")
        assert producer.send("orders", b"a").append_time == NEW_YEAR
        broker.advance(hours=1)
        broker.drop()
        assert producer.send("orders", b"b").append_time == broker.now
    assert [record.value for record in broker.records("orders")] == [b"a", b"b"]
    with tidelog.sync.connect(broker.url) as another:
        assert [topic.name for topic in another.topics.list()] == ["orders"]
    with pytest.raises(ValueError, match="no reason"):
        broker.fail_next("produce", "NONSENSE")
    with pytest.raises(ValueError, match="ports=True"):
        _ = broker.kafka


def test_another_client_of_a_sync_broker_has_its_time_and_leaves_it_running(
    tidelog_sync_broker: testing.SyncBroker,
) -> None:
    broker = tidelog_sync_broker
    broker.client.topics.create("orders")
    broker.advance(milliseconds=5)
    with broker.connect(client_id="other") as other, other.producer() as producer:
        producer.send("orders", b"a")
    with pytest.raises(RuntimeError, match="the client is closed"):
        list(other.topics.list())
    (record,) = broker.records("orders")
    assert record.timestamp == broker.now == NEW_YEAR + timedelta(milliseconds=5)


def test_what_fails_inside_comes_out() -> None:
    with pytest.raises(ZeroDivisionError), testing.sync_broker():
        _ = 1 // 0


def test_the_fixtures_work_in_a_users_project(tmp_path: Path) -> None:
    plugins = '"tidelog.testing.fixtures", "tidelog.testing.sync_fixtures"'
    (tmp_path / "conftest.py").write_text(f"pytest_plugins = [{plugins}]\n")
    (tmp_path / "test_it.py").write_text(
        "async def test_one(tidelog_broker):\n"
        "    await tidelog_broker.client.topics.create('orders')\n"
        "    assert await tidelog_broker.records('orders') == []\n"
        "def test_two(tidelog_sync_broker):\n"
        "    tidelog_sync_broker.client.topics.create('orders')\n"
        "    tidelog_sync_broker.advance(hours=1)\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_asyncio.plugin", str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


async def test_the_examples_of_the_documentation_run() -> None:
    """Every fenced program of the reference that uses `tidelog.testing`, as it stands."""
    page = "docs/reference/sdk.md"
    fences = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
    programs = [text for text in fences if "from tidelog import testing" in text]
    assert programs
    for text in programs:
        body = textwrap.indent(text, "    ")
        scope: dict[str, Any] = {}
        exec(compile(f"async def main():\n{body}", page, "exec"), scope)
        await scope["main"]()
