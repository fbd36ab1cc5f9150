"""`tidelog group` and `tidelog consume -g` against a whole node."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.cli_runner import Cli
from tests.grpc_node import GrpcNode


@pytest.fixture
async def cli(served: GrpcNode) -> Cli:
    cli = Cli(served.target)
    await cli("topic", "create", "orders", "-p", "2")
    lines = "".join(f"{number % 2}:{number}\n" for number in range(10)).encode()
    made = await cli("produce", "orders", "-f", "%k:%v\\n", stdin=lines)
    assert made.code == 0
    return cli


async def consume(cli: Cli, group: str, *options: str) -> list[str]:
    ran = await cli("consume", "orders", "-g", group, "--no-follow", "-f", "%v\\n", *options)
    assert ran.code == 0, ran.stderr
    return sorted(ran.lines)


async def test_what_was_printed_is_committed(cli: Cli) -> None:
    assert await consume(cli, "g") == [f"{number}" for number in range(10)]
    assert await consume(cli, "g") == []
    assert len(await consume(cli, "h", "-n", "3")) == 3
    assert len(await consume(cli, "h")) == 7
    assert await consume(cli, "late", "-o", "end") == []
    assert await consume(cli, "one", "--grep", "^7$") == ["7"]


@pytest.mark.parametrize(
    ("told", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_interrupted_it_commits_what_was_printed_and_leaves(
    cli: Cli, told: signal.Signals, code: int
) -> None:
    process = await cli.start("consume", "orders", "-g", "g", "-f", "%v\\n")
    assert process.stdout is not None
    async with asyncio.timeout(20):
        for _ in range(10):
            await process.stdout.readline()
        process.send_signal(told)
        assert await process.wait() == code
    row = (await cli("group", "describe", "g", "-F", "json")).items[0]
    assert (row["total_lag"], row["members"], row["state"]) == (0, 0, "empty")


async def test_describe_list_and_members(cli: Cli) -> None:
    await consume(cli, "billing")
    await cli("produce", "orders", "-f", "%k:%v\\n", stdin=b"0:10\n1:11\n0:12\n")
    described = await cli("group", "describe", "billing")
    first, second = described.out.split("\n\n")
    assert first.splitlines()[0].split() == "GROUP STATE MEMBERS TOTAL-LAG MAX-LAG-TIME".split()
    assert first.splitlines()[1].split()[:4] == ["billing", "Empty", "0", "3"]
    assert second.splitlines()[0].split() == (
        "TOPIC PART COMMITTED LOG-START LOG-END LAG LAG-TIME MEMBER HOST".split()
    )
    assert [row["group"] for row in (await cli("group", "list", "-F", "json")).items] == ["billing"]
    assert (await cli("group", "list")).lines[1].split()[:2] == ["billing", "Empty"]
    assert (await cli("group", "list", "--prefix", "x", "--no-header")).out == ""
    process = await cli.start("consume", "orders", "-g", "billing")
    assert process.stdout is not None
    async with asyncio.timeout(20):
        await process.stdout.readline()
    (member,) = (await cli("group", "members", "billing", "-F", "json")).items
    assert (member["client"], member["partitions"]) == ("tidelog-cli", ["orders/0", "orders/1"])
    process.kill()
    await process.wait()
    unknown = await cli("group", "describe", "nobody")
    assert unknown.code == 1
    assert "(UNKNOWN_GROUP)" in unknown.stderr


@pytest.mark.parametrize("options", [("-o", "start"), ("--tail", "2"), ("-o", "@-1h")])
async def test_a_place_that_a_group_does_not_heed_is_said(
    cli: Cli, options: tuple[str, ...]
) -> None:
    read = ("consume", "orders", "-g", "g", "--no-follow", "-f", "%v\\n")
    first = await cli(*read, *options)
    assert (first.code, first.stderr) == (0, "")
    assert first.lines
    again = await cli(*read, *options)
    assert (again.code, again.out) == (0, "")
    assert 'warning: group "g" goes on where it has committed' in again.stderr
    assert "\nhint: tidelog group seek g --to PLACE" in again.stderr
    assert (await cli(*read)).stderr == ""


async def test_seek_shows_its_plan_and_asks(cli: Cli, tmp_path: Path) -> None:
    await consume(cli, "g")
    plan = await cli("group", "seek", "g", "--to", "start", "--dry-run")
    assert plan.lines[0].split() == ["TOPIC", "PART", "CURRENT", "NEW", "DELTA"]
    assert sum(int(line.split()[4]) for line in plan.lines[1:]) == -10
    assert "dry run: nothing changed. 10 records would be delivered again" in plan.stderr
    refused = await cli("group", "seek", "g", "--to", "start")
    assert (refused.code, refused.out) == (2, "")
    assert await consume(cli, "g") == []
    assert (await cli("group", "seek", "g", "--by", "-1", "--yes")).code == 0
    assert len(await consume(cli, "g")) == 2
    offsets = tmp_path / "offsets.csv"
    offsets.write_text("topic,partition,offset\norders,0,1\n")
    assert (await cli("group", "seek", "g", "--to-file", str(offsets), "--yes")).code == 0
    committed = (await cli("group", "describe", "g", "-F", "json")).items[0]["offset_rows"]
    assert committed[0]["committed"] == 1
    moved = await cli("group", "seek", "h", "--to-group", "g", "--yes", "-F", "json")
    assert moved.code == 0
    same = ("group", "seek", "h", "--to-group", "g", "--topic", "orders", "--topic", "empty")
    assert (await cli("topic", "create", "empty", "-p", "1", "--yes")).code == 0
    for how in ("--dry-run", "--yes"):
        moved = await cli(*same, how, "-F", "json")
        assert (moved.code, {row["topic"] for row in moved.items}) == (0, {"orders"})
        assert "Nothing is committed there for empty/0: left as it is." in moved.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say where with one of --to, --by"),
        (("--to", "start", "--by", "1"), "say where with one of --to, --by"),
        (("--to", "nonsense"), "is not a place in a log"),
        (("--to-file", "/nowhere"), "--to-file /nowhere: "),
        (("--committed-at", "@-1h"), "not built yet (NOT_IMPLEMENTED)"),
    ],
)
async def test_a_seek_that_says_nothing_clear_is_refused(
    cli: Cli, options: tuple[str, ...], said: str
) -> None:
    ran = await cli("group", "seek", "g", *options, "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.stderr


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("orders,0,\u00b2", "line 1 is not topic,partition,offset"),
        ("orders,0,1\norders,\u0661,1", "line 2 is not topic,partition,offset"),
        ("orders,0," + "9" * 5_000, "line 1 is not topic,partition,offset"),
        ("orders,2147483648,0", "line 1 is not topic,partition,offset"),
        ("topic,partition,offset\norders,0,1\norders,0,2", "line 3 names orders/0 again"),
    ],
)
async def test_a_file_of_offsets_says_each_place_once_in_plain_digits(
    cli: Cli, tmp_path: Path, *, lines: str, said: str
) -> None:
    offsets = tmp_path / "offsets.csv"
    offsets.write_text(lines, encoding="utf-8")
    ran = await cli("group", "seek", "g", "--to-file", str(offsets), "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.stderr


async def test_a_live_group_moves_only_with_force(cli: Cli) -> None:
    process = await cli.start("consume", "orders", "-g", "g", "-f", "%v\\n")
    assert process.stdout is not None
    async with asyncio.timeout(30):
        for _ in range(10):
            await process.stdout.readline()
        refused = await cli("group", "seek", "g", "--to", "start", "--yes")
        assert refused.code == 1
        assert 'group "g" has 1 live member (GROUP_NOT_EMPTY)' in refused.stderr
        plan = await cli("group", "seek", "g", "--to", "start", "--dry-run")
        assert "The group has 1 live member; apply with --yes --force" in plan.stderr
        moved = await cli("group", "seek", "g", "--to", "start", "--yes", "--force")
        assert moved.code == 0, moved.stderr
        again = [await process.stdout.readline() for _ in range(10)]
        assert sorted(again) == sorted(f"{number}\n".encode() for number in range(10))
        process.send_signal(signal.SIGINT)
        await process.wait()


async def test_delete_and_delete_offsets(cli: Cli) -> None:
    await consume(cli, "g")
    asked = await cli("group", "delete-offsets", "g", "orders/0")
    assert asked.code == 2
    assert (await cli("group", "delete-offsets", "g", "orders/0", "--yes")).code == 0
    assert (await cli("group", "delete-offsets", "g", "orders", "--dry-run")).lines[1].split() == [
        "g", "orders", "1", "no",
    ]  # fmt: skip
    assert (await cli("group", "delete", "g", "--dry-run")).code == 0
    assert (await cli("group", "delete", "g", "--yes")).code == 0
    assert (await cli("group", "delete", "g", "--yes")).code == 1
    again = await cli("group", "delete", "g", "--yes", "--if-exists", "-F", "json")
    assert (again.code, again.items) == (0, [{"group": "g", "changed": False}])


@pytest.mark.parametrize("how", ["--yes", "--dry-run"])
async def test_forgetting_where_nothing_is_committed_does_nothing_and_says_so(
    cli: Cli, how: str
) -> None:
    await consume(cli, "g")
    assert (await cli("topic", "create", "empty", "--yes")).code == 0
    ran = await cli("group", "delete-offsets", "g", "empty", how, "-F", "json")
    assert (ran.code, ran.items) == (0, [])
    assert 'Group "g" has committed nothing in "empty": nothing to forget.' in ran.stderr
    both = await cli("group", "delete-offsets", "g", "empty", "orders", how, "-F", "json")
    assert (both.code, [row["topic"] for row in both.items]) == (0, ["orders", "orders"])
    assert 'nothing in "empty"' in both.stderr


async def test_a_verb_without_force_says_to_stop_the_members(cli: Cli) -> None:
    process = await cli.start("consume", "orders", "-g", "g", "-f", "%v\\n")
    assert process.stdout is not None
    async with asyncio.timeout(30):
        await process.stdout.readline()
        for words in (("delete", "g"), ("delete-offsets", "g", "orders")):
            refused = await cli("group", *words, "--yes")
            assert refused.code == 1
            assert "(GROUP_NOT_EMPTY)\nhint: stop its members first; " in refused.stderr
            assert "--force" not in refused.stderr
        process.send_signal(signal.SIGINT)
        await process.wait()


@pytest.mark.parametrize("options", [("-p", "0"), ("-o", ":end"), ("--tail", "3", "-o", "3")])
async def test_what_a_group_decides_is_not_said_beside_it(
    cli: Cli, options: tuple[str, ...]
) -> None:
    ran = await cli("consume", "orders", "-g", "g", *options)
    assert (ran.code, ran.out) == (2, "")
