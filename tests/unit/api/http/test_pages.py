"""What a running node shows: health, metrics, the page, and the headers of all of them."""

import asyncio
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.http.app import Pages
from api.http.health import CHECKS
from api.http.metrics import FAMILIES, reference
from api.http.rates import RateMeter
from logstore.recovery_report import Finding
from tests.one_node import one_node

ROOT = Path(__file__).parents[4]


async def test_health_follows_the_node(tmp_path: Path) -> None:
    async with one_node(tmp_path / "d") as one, httpx.AsyncClient(base_url=one.url) as http:
        health = one.view.health
        assert (await http.get("/livez")).text == "ok\n"
        assert (await http.get("/readyz")).status_code == 200
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        health.note("controller", "no quorum")
        verbose = (await http.get("/readyz?verbose")).text.splitlines()
        assert verbose[0] == "[+] recovery: done"
        assert verbose[-1] == "[i] controller: no quorum"
        assert (await http.get("/readyz")).status_code == 200, "never for the sake of others"
        health.failed("storage", "offline")
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "storage: offline\n")
        assert (await http.get("/healthz")).status_code == 503
        assert (await http.get("/livez")).status_code == 200
        health.passed("storage")
        health.stopping()
        assert (await http.get("/readyz")).text == "the node is stopping\n"
        with pytest.raises(AssertionError, match="HEALTH_CHECK_IS_LISTED"):
            health.passed("something")


async def test_the_page_about_health_names_every_path_and_check(tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/health.md").read_text()
    async with one_node(tmp_path / "d") as one:
        probes = {route.path for route in Pages(one.view).routes() if route.path.endswith("z")}
    rows = re.findall(r"^\| `([/\w]+)` \|", page, re.MULTILINE)
    assert {row for row in rows if row.startswith("/")} == probes
    assert tuple(row for row in rows if not row.startswith("/")) == CHECKS


async def test_metrics_tell_the_positions_of_every_partition(tmp_path: Path) -> None:
    async with one_node(tmp_path / "d") as one, httpx.AsyncClient(base_url=one.url) as http:
        await one.create("orders", 2)
        await one.produce("orders", 1, [b"a", b"b", b"c"])
        text = (await http.get("/metrics")).text
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        place = (("partition", "1"), ("topic", "orders"))
        for name in ("high_watermark", "log_end_offset", "written_end", "flushed_end"):
            assert samples[f"tidelog_partition_{name}", place] == 3, name
        assert samples["tidelog_partition_in_sync_replicas", place] == 1
        assert samples["tidelog_topic_records_in_total", (("topic", "orders"),)] == 3
        assert samples["tidelog_up", ()] == 1
        assert samples["tidelog_storage_disk_free_bytes", ()] > 0
        assert samples["tidelog_event_loop_lag_seconds_count", ()] > 0
        assert any(name.startswith("process_open_fds") for name, _ in samples)


async def test_every_listed_metric_is_in_a_scrape_and_no_other(tmp_path: Path) -> None:
    async with one_node(tmp_path / "d") as one, httpx.AsyncClient(base_url=one.url) as http:
        await one.create("orders")
        text = (await http.get("/metrics?detail=partition")).text
    published = set(re.findall(r"^# TYPE (tidelog_\w+)", text, re.MULTILINE))
    assert published == FAMILIES.keys()
    assert reference() in (ROOT / "docs/reference/metrics.md").read_text()


class Links(HTMLParser):
    """Collects what a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "href"}:
                self.loads.append(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.append(name)


async def test_the_page_shows_offsets_and_needs_no_script(tmp_path: Path) -> None:
    async with one_node(tmp_path / "d") as one, httpx.AsyncClient(base_url=one.url) as http:
        empty = await http.get("/")
        assert "No topic yet" in empty.text
        await one.create("orders", 2)
        await one.produce("orders", 0, [b"x"] * 1500)
        page = await http.get("/")
        style = await http.get("/static/status.css")
    links = Links()
    links.feed(page.text)
    assert page.status_code == style.status_code == 200
    assert "script" not in links.tags
    assert "style" not in links.tags
    assert links.inline == []
    assert all(link.startswith("/") for link in links.loads)
    assert page.text.count("<tr>") >= 2 + 1 + 2
    assert "1,500" in page.text
    assert "prefers-color-scheme: dark" in style.text
    assert "url(" not in style.text
    assert all("scope=" in cell for cell in re.findall(r"<th [^>]*>", page.text))


async def test_markup_of_others_stays_text(tmp_path: Path) -> None:
    async with one_node(tmp_path / "d") as one, httpx.AsyncClient(base_url=one.url) as http:
        one.view.version = '<script>alert("x")</script>'
        page = (await http.get("/")).text
    assert "<script" not in page
    assert "&lt;script&gt;" in page


async def test_every_answer_forbids_what_it_does_not_need(tmp_path: Path) -> None:
    async with one_node(tmp_path / "d") as one, httpx.AsyncClient(base_url=one.url) as http:
        for path in ("/", "/livez", "/readyz", "/metrics", "/static/status.css", "/nowhere"):
            headers = (await http.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'self';"), path
            assert headers["x-content-type-options"] == "nosniff"
        assert (await http.get("/nowhere")).status_code == 404
        assert (await http.get("/static/../app.py")).status_code == 404
        assert (await http.post("/", content=b"x")).status_code == 405
        assert (await http.head("/")).status_code == 200


async def test_nonsense_and_long_heads_are_refused(tmp_path: Path) -> None:
    async with one_node(tmp_path / "d") as one:
        address = one.view.addresses["http"]
        for sent in (
            b"\x16\x03\x01\x00nonsense\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000,
        ):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(sent)
            try:
                answer = await reader.read()
            except ConnectionResetError:  # hung up with our bytes unread: the answer is lost
                answer = b"HTTP/1.1 400"
            assert answer.startswith(b"HTTP/1.1 400")
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        async with httpx.AsyncClient(base_url=one.url) as http:
            assert (await http.get("/livez")).status_code == 200


async def is_served(address: tuple[str, int], *, local: str) -> bool:
    """Ask for /livez from a local address; False: it was hung up."""
    try:
        reader, writer = await asyncio.open_connection(*address, local_addr=(local, 0))
        writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
    except ConnectionError:
        return False
    writer.close()
    return answer.startswith(b"HTTP/1.1 200")


async def test_one_address_cannot_keep_probes_out(tmp_path: Path) -> None:
    """P54: half a request on each of its connections, and one more is hung up; others get in."""
    limit = "listeners.http.connections_per_address_max=3"
    async with one_node(tmp_path / "d", limit) as one:
        address = one.view.addresses["http"]
        place = (address.host, address.port)
        crowd = [await asyncio.open_connection(*place) for _ in range(3)]
        for _, writer in crowd:
            writer.write(b"GET /liv")
        assert not await is_served(place, local="127.0.0.1")
        assert await is_served(place, local="127.0.0.2")
        _, gone = crowd.pop()
        gone.close()
        await gone.wait_closed()
        while not await is_served(place, local="127.0.0.1"):
            pass  # the node has not heard of it yet
        for _, writer in crowd:
            writer.close()
            await writer.wait_closed()


async def test_an_idle_door_does_not_wake_the_loop(tmp_path: Path) -> None:
    async with one_node(tmp_path / "d") as one, httpx.AsyncClient(base_url=one.url) as http:
        await http.get("/")
        await http.aclose()
        loop = asyncio.get_running_loop()
        timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        near = [timer for timer in timers if timer.when() - loop.time() < 0.5]
        assert near == []


def test_rates_are_differences_between_two_looks() -> None:
    meter = RateMeter()
    assert meter.look(1_000, {"a": 10}) is None
    second = meter.look(3_000, {"a": 30, "b": 5})
    assert second is not None
    assert (second.per_second, second.over_ms) == ({"a": 10.0, "b": 0.0}, 2_000)
    soon = meter.look(3_500, {"a": 35})
    assert soon is not None
    assert (soon.per_second["a"], soon.over_ms) == (10.0, 2_500)
    shrunk = meter.look(9_000, {"a": 0})
    assert shrunk is not None
    assert shrunk.per_second["a"] == 0


async def test_damage_is_shown_wherever_an_operator_looks(tmp_path: Path) -> None:
    async with one_node(tmp_path / "d") as one, httpx.AsyncClient(base_url=one.url) as http:
        await one.create("orders")
        await one.produce("orders", 0, [b"a"])
        assert "Damaged on disk" not in (await http.get("/")).text
        partition = one.node.broker.partition("orders", 0)
        segment = partition.log.segment_list[0]
        segment.damage = (Finding(segment.log_name, 61, 20, "<checksum>"),)
        damage = one.node.broker.context.damage
        damage.collect(partition)
        page = (await http.get("/")).text
        assert "Damaged on disk" in page
        assert f"orders/0: {segment.log_name} at byte 61: 20 bytes: &lt;checksum&gt;" in page
        metrics = (await http.get("/metrics")).text
        assert "tidelog_storage_damaged_places 1.0" in metrics
        verbose = (await http.get("/readyz?verbose")).text.splitlines()
        assert verbose[-1] == f"[i] damage: {damage.places[0]}"
        assert (await http.get("/readyz")).status_code == 200, "the rest is served"
