"""`tidelog topic` against a whole node."""

import pytest

from tests.cli_runner import Cli
from tests.grpc_node import GrpcNode


@pytest.fixture
def cli(served: GrpcNode) -> Cli:
    return Cli(served.target)


async def test_create_list_describe_delete(cli: Cli) -> None:
    made = await cli("topic", "create", "orders", "payments", "-p", "3", "-c", "retention.ms=1000")
    assert made.code == 0
    assert made.lines[0].split() == ["TOPIC", "PARTITIONS", "REPLICAS", "CHANGED"]
    assert [line.split() for line in made.lines[1:]] == [
        ["orders", "3", "1", "yes"],
        ["payments", "3", "1", "yes"],
    ]
    listed = await cli("topic", "list", "-F", "json")
    assert listed.json["_command"] == "topic.list"
    assert [(t["topic"], t["partitions"], t["config"]) for t in listed.items] == [
        ("orders", 3, {"retention.ms": "1000"}),
        ("payments", 3, {"retention.ms": "1000"}),
    ]
    assert [t["topic"] for t in (await cli("topic", "list", "-r", "^pay", "-F", "json")).items] == [
        "payments"
    ]
    described = await cli("topic", "describe", "orders")
    assert "retention.ms" in described.out
    assert described.out.count("\n\n") == 2
    document = (await cli("topic", "describe", "-r", "o", "-F", "json")).items
    assert [len(topic["partition_rows"]) for topic in document] == [3]
    deleted = await cli("topic", "delete", "orders", "payments", "--yes")
    assert deleted.code == 0
    assert (await cli("topic", "list", "--no-header")).out == ""


async def test_what_exists_and_what_does_not(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    again = await cli("topic", "create", "orders", "-F", "json")
    assert again.code == 1
    assert again.json["items"] == []
    assert again.json["errors"][0]["reason"] == "TOPIC_ALREADY_EXISTS"
    assert "error: " in again.stderr
    assert (await cli("topic", "create", "orders", "--if-not-exists")).code == 0
    gone = await cli("topic", "delete", "ordrs", "--yes")
    assert gone.code == 1
    assert gone.out == ""
    assert "(UNKNOWN_TOPIC)\nhint: " in gone.stderr
    looked = await cli("topic", "describe", "ordrs")
    assert looked.stderr.splitlines() == [
        'error: topic "ordrs" does not exist (UNKNOWN_TOPIC)',
        'hint: did you mean "orders"? create it with: tidelog topic create ordrs',
    ]
    assert (await cli("topic", "delete", "ordrs", "--if-exists", "--yes")).code == 0


async def test_what_did_not_change_is_not_called_changed(cli: Cli) -> None:
    async def changed(*arguments: str) -> list[bool]:
        ran = await cli("topic", *arguments, "-F", "json")
        assert ran.code == 0, ran.stderr
        return [item["changed"] for item in ran.items]

    assert await changed("create", "orders", "-p", "2", "--if-not-exists", "--dry-run") == [False]
    assert await changed("create", "orders", "-p", "2", "--if-not-exists") == [True]
    assert await changed("create", "orders", "new", "--if-not-exists") == [False, True]
    assert await changed("add-partitions", "orders", "2") == [False]
    assert await changed("add-partitions", "orders", "3", "--dry-run") == [False]
    assert await changed("add-partitions", "orders", "3") == [True]
    assert await changed("delete", "orders", "nix", "--if-exists", "--yes") == [True, False]
    assert await changed("delete", "new", "--if-exists", "--dry-run") == [False]
    assert [t["topic"] for t in (await cli("topic", "list", "-F", "json")).items] == ["new"]


async def test_settings_that_are_all_defaults_say_so(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    looked = await cli("topic", "describe", "orders", "--section", "configs")
    assert (looked.code, looked.out) == (0, "")
    assert looked.stderr.startswith("every setting of orders has its default")


async def test_a_pattern_that_matches_nothing_says_so(cli: Cli) -> None:
    looked = await cli("topic", "describe", "-r", "^nix")
    assert (looked.code, looked.out) == (0, "")
    assert looked.stderr == "no topic matches ^nix\n"


async def test_failures_in_a_row_share_a_hint(cli: Cli) -> None:
    await cli("topic", "create", "orders", "-p", "3")
    beyond = await cli("topic", "trim", "orders", "--before", "7", "--yes")
    assert (beyond.code, beyond.out) == (1, "")
    assert [line.split(":")[0] for line in beyond.stderr.splitlines()] == [
        "error", "error", "error", "hint",
    ]  # fmt: skip


async def test_a_setting_that_was_probably_meant_is_named_once(cli: Cli) -> None:
    wrong = await cli("topic", "create", "orders", "-c", "retention.m=1")
    assert wrong.stderr.count("did you mean") == 1


async def test_one_failure_of_many(cli: Cli) -> None:
    await cli("topic", "create", "there")
    mixed = await cli("topic", "create", "new", "there", "other", "-F", "json")
    assert mixed.code == 1
    assert [item["topic"] for item in mixed.items] == ["new", "other"]
    assert [error["reason"] for error in mixed.json["errors"]] == ["TOPIC_ALREADY_EXISTS"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("delete", "orders"),
        ("trim", "orders", "--before", "end"),
        ("alter", "orders", "-c", "retention.ms=1"),
    ],
)
async def test_danger_needs_a_yes(cli: Cli, arguments: tuple[str, ...]) -> None:
    await cli("topic", "create", "orders", "-c", "retention.ms=99")
    await cli("produce", "orders", "--value", "v")
    refused = await cli("topic", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "pass --yes to do it, or --dry-run to only look" in refused.stderr
    looked = await cli("topic", *arguments, "--dry-run", "-F", "json")
    assert looked.code == 0
    assert [item["changed"] for item in looked.items] == [False]
    (topic,) = (await cli("topic", "describe", "orders", "-F", "json")).items
    assert topic["partition_rows"][0]["log_start"] == 0
    assert topic["config"] == {"retention.ms": "99"}
    done = await cli("topic", *arguments, "--yes", "-F", "json")
    assert done.code == 0
    assert [item["changed"] for item in done.items] == [True]


async def test_a_dry_run_creates_nothing(cli: Cli) -> None:
    looked = await cli("topic", "create", "orders", "-p", "3", "--dry-run")
    assert looked.code == 0
    assert looked.lines[1].split() == ["orders", "3", "1", "no"]
    assert (await cli("topic", "list", "--no-header")).out == ""


async def test_trim_tells_each_partition(cli: Cli) -> None:
    await cli("topic", "create", "orders", "-p", "2")
    await cli("produce", "orders", "-p", "0", stdin=b"a\nb\nc\n")
    mixed = await cli("topic", "trim", "orders", "--before", "2", "--yes", "-F", "json")
    assert mixed.code == 1
    assert [(r["partition"], r["before"], r["after"], r["removed"]) for r in mixed.items] == [
        (0, 0, 2, 2)
    ]
    assert [error["reason"] for error in mixed.json["errors"]] == ["OFFSET_OUT_OF_RANGE"]
    read = await cli("consume", "orders", "-p", "0", "--no-follow", "-f", "%o %v\n")
    assert read.out == "2 c\n"
    cut = await cli("consume", "orders", "-o", "0:end", "-p", "0")
    assert cut.stderr == (
        "warning: records inside the range were removed, by retention or a trim: "
        "orders/0 begins at 2\n"
    )


async def test_what_a_trim_took_of_a_range_is_told_with_the_true_log_start(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    lines = b"".join(
        b'{"value":"v","timestamp_ms":%d}\n' % (1_767_225_600_000 + days * 86_400_000)
        for days in (0, -9, -9, -9)
    )
    await cli("produce", "orders", "-F", "json", stdin=lines)
    await cli("topic", "trim", "orders", "--before", "1", "--yes")
    read = await cli("consume", "orders", "-o", "@2026-01-01:@2026-01-02")
    assert (read.code, read.out) == (0, "")
    assert read.stderr == (
        "warning: records inside the range were removed, by retention or a trim: "
        "orders/0 begins at 1\n"
    )


async def test_offsets_of_a_time(cli: Cli) -> None:
    await cli("topic", "create", "orders", "-p", "2")
    line = b'{"value":"v","timestamp_ms":1767225600000,"partition":0}\n'
    await cli("produce", "orders", "-F", "json", stdin=line)
    found = await cli("topic", "offsets", "orders", "-o", "@2026-01-01", "-F", "json")
    assert [(r["partition"], r["offset"], r["at_end"]) for r in found.items] == [
        (0, 0, False),
        (1, None, True),
    ]
    assert found.items[0]["time"] == "2026-01-01T00:00:00Z"
    wrong = await cli("topic", "offsets", "orders", "-o", "2026-01-01")
    assert wrong.code == 2
    assert "times begin with @: write @2026-01-01" in wrong.stderr


async def test_alter_and_grow(cli: Cli) -> None:
    await cli("topic", "create", "orders")
    set_ = await cli("topic", "alter", "orders", "-c", "max.message.bytes=2000000", "-F", "json")
    assert [(r["setting"], r["value"], r["source"]) for r in set_.items] == [
        ("max.message.bytes", "2000000", "resource")
    ]
    unset = await cli("topic", "alter", "orders", "--unset", "max.message.bytes", "-F", "json")
    assert unset.items[0]["source"] == "default"
    assert (await cli("topic", "add-partitions", "orders", "4")).code == 0
    smaller = await cli("topic", "add-partitions", "orders", "2")
    assert (smaller.code, "INVALID_PARTITION_COUNT" in smaller.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "orders", "-c", "x"), "is not KEY=VALUE"),
        (("create", "orders", "-c", "a=1", "-c", "a=2"), "given twice"),
        (("alter", "orders"), "nothing to change"),
        (("describe",), "name a topic"),
        (("describe", "-r", "("), "--regex"),
        (("describe", "orders", "--section", "all"), 'no section "all"'),
        (("trim", "orders", "--before", "1", "-p", "x"), "no partition"),
        (("copy", "orders"), "is not built yet"),
    ],
)
async def test_misuse_is_exit_2(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    refused = await cli("topic", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.stderr
