"""`tidelog produce`, `consume`, `tail` and `get` against a whole node."""

import asyncio
import json
import signal

import pytest

from logstore.batch import encode_batch
from model.record import NewRecord
from tests.cli_runner import Cli
from tests.grpc_node import GrpcNode, encoded

T0_MS = 1_767_225_600_000


@pytest.fixture
def cli(served: GrpcNode) -> Cli:
    return Cli(served.target)


async def test_lines_become_records(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    sent = await cli("produce", "orders", "-k", "alice", "-H", "source:web", stdin=b"one\ntwo\n")
    assert sent.code == 0
    assert [line.split() for line in sent.lines[1:]] == [["orders", "0", "2", "0", "1"]]
    read = await cli("consume", "orders", "--no-follow", "-f", "%t/%p@%o %k=%v %h{%k:%v}\\n")
    assert read.out == "orders/0@0 alice=one source:web\norders/0@1 alice=two source:web\n"


async def test_consume_and_produce_are_inverse(served: GrpcNode, cli: Cli) -> None:
    """Key, value, headers and times come out as they went in: null, empty, binary, repeated."""
    texts = [None, b"", b"text", b"\xff\x00binary", "grüße".encode(), b'{"base64": "eA=="}']
    rows = [
        NewRecord(
            T0_MS + n,
            texts[n % 6],
            texts[(n // 6) % 6],
            ((b"h", texts[n % 6]), (b"h", b"again"), (b"\xfe", b"name"), (b"", b"")),
        )
        for n in range(36)
    ]
    await served.create("from")
    await served.create("to")
    await served.produce("from", encoded(encode_batch(rows)))
    exported = await cli("consume", "from", "--no-follow", "-F", "json")
    assert len(exported.lines) == 36
    assert (await cli("produce", "to", "-F", "json", stdin=exported.stdout)).code == 0
    again = await cli("consume", "to", "--no-follow", "-f", "json")

    def what_counts(text: str) -> list[str]:
        rows = [json.loads(line) for line in text.splitlines()]
        return [
            json.dumps({k: row[k] for k in ("key", "value", "headers", "timestamp_ms")})
            for row in rows
        ]

    assert what_counts(again.out) == what_counts(exported.out)
    assert json.loads(exported.lines[3])["headers"][2]["key"] == {"base64": "/g=="}


async def test_exactly_a_range_of_times(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    lines = b"".join(
        b'{"value":"%d","timestamp_ms":%d}\n' % (n, T0_MS + n * 3_600_000)
        for n in (5, 1, 30, 23, 24, 0, 47)
    )
    await cli("produce", "orders", "-F", "json", stdin=lines)
    day = await cli("consume", "orders", "-o", "@2026-01-01:@2026-01-02", "-f", "value")
    assert day.out.split() == ["5", "1", "23", "0"]
    later = await cli("consume", "orders", "-o", "@2026-01-02:end", "-f", "value")
    assert later.out.split() == ["30", "24", "47"]
    until = await cli("consume", "orders", "-o", "@:2026-01-01T02:00:00Z", "-f", "value")
    assert until.out.split() == ["1", "0"]
    hour = await cli("consume", "orders", "-o", "@-1h:end", "--clock", "append", "-f", "value")
    assert len(hour.lines) == 7
    future = await cli("consume", "orders", "-o", "@2027-06-01:@2027-07-01", "-f", "value")
    assert (future.code, future.out) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-o", "3:6"), "345"),
        (("-o", "7:end"), "789"),
        (("-o", ":2"), "01"),
        (("-o", "+8", "--no-follow"), "89"),
        (("-o", "-2", "--no-follow"), "89"),
        (("--tail", "3", "--no-follow"), "789"),
        (("-n", "2"), "01"),
        (("--grep", "[37]", "--no-follow"), "37"),
        (("--grep", "key-5", "--no-follow"), "5"),
        (("-o", "end", "--no-follow"), ""),
    ],
)
async def test_places(cli: Cli, arguments: tuple[str, ...], expected: str) -> None:
    await cli("topic", "create", "orders")
    lines = b"".join(b"key-%d %d\n" % (n, n) for n in range(10))
    await cli("produce", "orders", "-f", "%k %v\\n", stdin=lines)
    read = await cli("consume", "orders", "-f", "%v", *arguments)
    assert (read.code, read.out) == (0, expected)


async def test_only_some_partitions_and_only_the_meta(cli: Cli) -> None:
    await cli("topic", "create", "orders", "-p", "3")
    for number in "012":
        await cli("produce", "orders", "-p", number, "--value", f"v{number}")
    some = await cli("consume", "orders", "-p", "0,2", "--no-follow", "-f", "value")
    assert sorted(some.lines) == ["v0", "v2"]
    meta = await cli("consume", "orders", "-p", "1", "--no-follow", "--meta-only", "-F", "json")
    shown = json.loads(meta.out)
    assert shown.keys() >= {"topic", "offset", "timestamp_ms", "append_time_ms"}
    assert (shown["key_bytes"], shown["value_bytes"], shown["header_count"]) == (None, 2, 0)
    assert "v1" not in meta.out
    none = await cli("consume", "orders", "-p", "7", "--no-follow")
    assert (none.code, "UNKNOWN_PARTITION" in none.stderr) == (1, True)


async def test_batch_fields_are_printed(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    await cli("produce", "orders", "-z", "gzip", "--value", "v")
    read = await cli("consume", "orders", "--no-follow", "-f", "%a{compression} %x %e %[ %] %|\\n")
    assert read.out == "gzip 0 0 0 1 1\n"


async def test_a_tombstone_and_a_value_of_the_command_line(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    assert (await cli("produce", "orders", "-k", "a", "--tombstone")).code == 0
    assert (await cli("produce", "orders", "-v", "x", "-v", "y", "--acks", "none")).code == 0
    read = await cli("consume", "orders", "-n", "3", "-F", "json")
    assert [(json.loads(r)["key"], json.loads(r)["value"]) for r in read.lines] == [
        ("a", None), (None, "x"), (None, "y"),
    ]  # fmt: skip


async def test_a_dry_run_sends_nothing(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    looked = await cli("produce", "orders", "--dry-run", "-F", "json", stdin=b'{"value":"v"}\n{}\n')
    assert looked.code == 0
    assert looked.items[0]["records"] == 2
    assert (await cli("consume", "orders", "--no-follow")).out == ""


async def test_malformed_input_names_its_line(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    lines = b'{"value":"ok"}\n{"payload_of":"x"}\n'
    broken = await cli("produce", "orders", "-F", "json", stdin=lines)
    assert broken.code == 1
    assert 'line 2: "payload_of" is no field of a record' in broken.stderr
    assert broken.json["items"][0]["records"] == 1
    assert len(broken.json["errors"]) == 1


async def test_a_refused_record_is_counted_and_the_rest_stored(cli: Cli) -> None:
    await cli("topic", "create", "orders", "-c", "max.message.bytes=2048")
    mixed = await cli(
        "produce", "orders", "-z", "none", "-F", "json",
        stdin=b'{"value":"a"}\n{"value":"%b"}\n{"value":"b"}\n' % (b"x" * 4000),
    )  # fmt: skip
    assert mixed.code == 1
    assert mixed.json["errors"][0]["reason"] == "RECORD_TOO_LARGE"
    assert "error: 1 of 3 records are not stored" in mixed.stderr
    read = await cli("consume", "orders", "--no-follow", "-f", "value")
    assert read.out == "a\nb\n"


async def test_one_record_in_full(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    await cli("produce", "orders", "-k", "k", "-H", "a:1", "-z", "none", stdin=b"zero\none\n")
    got = await cli("get", "orders", "0", "1", "-F", "json")
    (item,) = got.items
    assert (item["offset"], item["key"], item["value"]) == (1, "k", "one")
    assert item["headers"] == [{"key": "a", "value": "1"}]
    assert item["batch"]["record_count"] == 2
    assert (item["batch"]["compression"], item["batch"]["base_sequence"]) == ("none", 0)
    text = await cli("get", "orders", "0", "0")
    assert "value                 zero" in text.out
    beyond = await cli("get", "orders", "0", "2")
    assert (beyond.code, "OFFSET_OUT_OF_RANGE" in beyond.stderr) == (1, True)
    await cli("topic", "trim", "orders", "--before", "1", "--yes")
    removed = await cli("get", "orders", "0", "0")
    assert (removed.code, "the log begins at 1" in removed.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("consume", "orders", "-o", "@2026-01-01T00:00:00"), "has no time zone"),
        (("consume", "orders", "-o", "0:5", "--follow"), "--follow goes on"),
        (("consume", "orders", "-o", "1", "--tail", "3"), "both say where to begin"),
        (("consume", "orders", "--grep", "("), "--grep"),
        (("consume", "orders", "-f", "%q"), "%q is no verb"),
        (("consume", "orders", "-g", "billing", "-p", "0"), "both say which partitions"),
        (("consume", "orders", "-g", "billing", "-o", "0:5"), "-o has no stop"),
        (("produce", "orders", "-H", "x"), "is not NAME:VALUE"),
        (("produce", "orders", "--rate", "fast"), "is no rate"),
        (("produce", "orders", "--tombstone"), "one record with a key"),
        (("produce", "orders", "-f", "%k%v\\n"), "where does %k end?"),
        (("produce", "orders", "-f", "jsonx"), 'did you mean "json"?'),
        (("get", "orders", "0", "x"), "is not a whole number"),
    ],
)
async def test_misuse_is_exit_2(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    refused = await cli(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.stderr


async def test_nobody_there_is_exit_3() -> None:
    nobody = await Cli("127.0.0.1:1")("topic", "list", "-F", "json")
    assert nobody.code == 3
    assert nobody.json["errors"][0]["reason"] == "UNREACHABLE"
    assert "hint: start a node with: tidelog dev" in nobody.stderr


async def test_tail_follows_and_ctrl_c_ends_it(served: GrpcNode, cli: Cli) -> None:
    await served.create("orders")
    process = await cli.start("tail", "orders", "-l", "1", "-f", "%v\\n")
    assert process.stdout is not None
    await cli("produce", "orders", "--value", "first")
    assert await process.stdout.readline() == b"first\n"
    await cli("produce", "orders", "--value", "second")
    assert await process.stdout.readline() == b"second\n"
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert (process.returncode, out, err.strip()) == (130, b"", b"")


async def test_a_reader_that_hangs_up_is_no_error(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    lines = b"".join(b"%d %b\n" % (n, b"x" * 500) for n in range(2000))
    await cli("produce", "orders", stdin=lines)
    process = await cli.start("consume", "orders", "-o", "start")
    assert process.stdout is not None
    assert (await process.stdout.readline()).endswith(b"x\n")
    process.stdout._transport.close()  # type: ignore[attr-defined]
    assert await process.wait() == 0
    assert process.stderr is not None
    assert await process.stderr.read() == b""


async def test_records_are_sent_while_stdin_is_open(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    process = await cli.start("produce", "orders")
    assert process.stdin is not None
    process.stdin.write(b"early\n")
    await process.stdin.drain()
    read = await cli("consume", "orders", "-o", "start", "-n", "1", "-f", "value")
    assert read.out == "early\n"
    process.stdin.close()
    out, _ = await process.communicate()
    assert (process.returncode, out.split()[-4:]) == (0, [b"0", b"1", b"0", b"0"])


@pytest.mark.parametrize(("told", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_whoever_waits_for_stdin_ends_when_told_to(
    cli: Cli, told: signal.Signals, code: int
) -> None:
    await cli("topic", "create", "orders")
    process = await cli.start("produce", "orders")
    assert process.stdin is not None
    process.stdin.write(b"early\n")
    await process.stdin.drain()
    await cli("consume", "orders", "-o", "start", "-n", "1")
    process.send_signal(told)
    out, err = await process.communicate()
    assert (process.returncode, out, err.strip()) == (code, b"", b"")


async def test_whoever_writes_what_nobody_reads_ends_when_told_twice(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    lines = b"".join(b"%d %b\n" % (n, b"x" * 500) for n in range(2000))
    await cli("produce", "orders", stdin=lines)
    process = await cli.start("consume", "orders", "-o", "start")
    assert process.stdout is not None
    await process.stdout.readline()
    pipe = process.stdout._transport  # type: ignore[attr-defined]
    pipe.pause_reading()
    ended = asyncio.ensure_future(process.wait())
    async with asyncio.timeout(60):
        while process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait([ended], timeout=0.05)
        pipe.close()
        assert await ended in {-signal.SIGTERM, 128 + signal.SIGTERM}


async def test_malformed_input_hides_no_other_failure(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    lines = b'{"value":"v"}\n{"value":"v","partition":7}\n{"payload":"v"}\n{"value":"never read"}\n'
    ran = await cli("produce", "orders", "-F", "json", stdin=lines)
    assert ran.code == 1
    assert [item["records"] for item in ran.items] == [1]
    texts = [error["text"] for error in ran.json["errors"]]
    assert "1 of 2 records are not stored" in texts[0]
    assert texts[1].startswith('line 3: "payload" is no field')


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("-F", "json"), b'{"value":"v"}\n{"value":"v","timestamp_ms":253402300800000}\n'),
        (("-f", "%d %v\\n"), b"1 v\n253402300800000 v\n"),
    ],
)
async def test_a_time_beyond_all_calendars_names_its_line(
    cli: Cli, arguments: tuple[str, ...], stdin: bytes
) -> None:
    await cli("topic", "create", "orders")
    ran = await cli("produce", "orders", *arguments, stdin=stdin)
    assert ran.code == 1
    assert "beyond the year 9999" in ran.stderr
    assert "line 2: " in ran.stderr or "record 2: " in ran.stderr
