"""Where people look: the JSON, the metrics, the page in a real browser, and Grafana's file."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from analytics.doors import open_doors
from analytics.figures import Price, Span, answer
from analytics.process import open_analytics
from analytics.rows import Row, Size, total
from analytics.settings import AnalyticsSettings
from analytics.shelf.file import FILE, open_file
from analytics.shelf.port import Shelf
from relay.http import HttpWorker
from relay.spine import open_spine
from relay.sql.master import MASTER_FILE
from relay.telemetry import Health
from tests.analytics.events import NOW, messages, records
from tests.audit.relay import TEXTS, Lived
from tests.servers import unavailable

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PRICE = Price(Decimal("0.6"), "CNY")


@asynccontextmanager
async def served(path: Path, count: int = 500) -> AsyncIterator[tuple[str, Shelf]]:
    """The doors over figures of so many events, up to now."""
    now = datetime.now(UTC)
    with open_file(path / FILE) as shelf:
        await shelf.take(list(records(messages(count, now=now), now=now)), {})
        doors = open_doors(shelf, Health(), lambda: 0, lambda: datetime.now(UTC), PRICE)
        worker = HttpWorker(doors, "127.0.0.1", 0)
        running = asyncio.create_task(worker.run())
        try:
            yield f"http://127.0.0.1:{worker.port}", shelf
        finally:
            worker.stop()
            await running


def minutes(*amounts: int) -> list[Row]:
    """A row for each of the last minutes before NOW, the last one that of NOW."""
    begin = int(NOW.timestamp()) - 60 * (len(amounts) - 1)
    return [
        Row(begin + 60 * n, 0, {("jobs", "accepted"): amount, ("audio_ms", "spoken"): 1500})
        for n, amount in enumerate(amounts)
        if amount
    ]


def test_windows_tumble_slide_and_are_there_when_empty() -> None:
    rows = minutes(5, 0, 2, 1)
    tumbling = answer(Span(Size.MINUTE, 3, NOW), rows, PRICE)
    counts = [w.get("jobs", {}).get("accepted", 0) for w in tumbling["windows"]]
    assert counts == [0, 2, 1]
    assert tumbling["total"]["jobs"] == {"accepted": 3}
    assert tumbling["total"]["audio_seconds"] == {"spoken": 3.0}
    assert tumbling["total"]["cost"] == {"amount": "0.0300", "currency": "CNY"}
    sliding = answer(Span(Size.MINUTE, 3, NOW, sliding=2), rows)
    assert [w.get("jobs", {}).get("accepted", 0) for w in sliding["windows"]] == [5, 2, 3]
    assert Span(Size.MINUTE, 3, NOW, sliding=2).since == rows[0].start


async def test_the_figures_are_what_the_rows_say(tmp_path: Path) -> None:
    async with served(tmp_path) as (url, shelf), httpx.AsyncClient(base_url=url) as client:
        said: dict[str, Any] = (await client.get("/v1/figures?size=day&last=400")).json()
        days = total(await shelf.rows(Size.DAY))
        assert said["total"]["jobs"]["delivered"] == days["jobs", "delivered"] > 0
        assert said["total"]["events"] == {p[1]: n for p, n in days.items() if p[0] == "events"}
        delay = said["total"]["delay_seconds"]["delivered"]
        assert 0 < delay["p50"] <= delay["p95"] <= delay["p99"]
        synth = said["total"]["took_seconds"]["synth"]
        assert synth["count"] == days["jobs", "synthesized"] > 0
        assert 5 < synth["p50"] <= synth["p95"] <= synth["p99"]
        assert len(said["windows"]) == 400
        for wrong in ("size=week", "last=0", "last=9999", "sliding=0"):
            refused = await client.get(f"/v1/figures?{wrong}")
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
        assert (await client.get("/readyz")).status_code == 200


async def exported(url: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Every sample that a scrape gives, by its name."""
    async with httpx.AsyncClient(base_url=url) as client:
        text = (await client.get("/metrics")).text
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


async def test_metrics_are_totals_of_the_same_rows(tmp_path: Path) -> None:
    async with served(tmp_path) as (url, shelf):
        found = await exported(url)
        days = total(await shelf.rows(Size.DAY))
    jobs = {labels["state"]: value for labels, value in found["voxrelay_jobs_total"]}
    assert jobs == {path[1]: n for path, n in days.items() if path[0] == "jobs"}
    assert found["voxrelay_failures_total"] == [
        (
            {"stage": "synth", "code": "prompt_too_short"},
            days["failures", "synth", "prompt_too_short"],
        )
    ]
    ((labels, money),) = found["voxrelay_cost_total"]
    assert labels == {"currency": "CNY"}
    assert money == pytest.approx(days["audio_ms", "spoken"] / 60_000 * 0.6, abs=1e-4)


async def test_grafanas_file_asks_for_nothing_that_is_not_exported(tmp_path: Path) -> None:
    async with served(tmp_path) as (url, _):
        found = await exported(url)
    board = json.loads((ROOT / "infra" / "grafana.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(asked) >= 10
    for expression in asked:
        names = set(re.findall(r"voxrelay_\w+", expression))
        assert names, expression
        assert names <= found.keys(), f"{names - found.keys()} in {expression}"
        for name in names:
            labels = {label for each, _ in found[name] for label in each}
            wanted = re.findall(r"by \(([\w, ]+)\)", expression) + re.findall(
                r"(\w+)=", "".join(re.findall(r"\{(.*?)\}", expression))
            )
            assert {w.strip() for each in wanted for w in each.split(",")} <= labels, expression


async def test_grafanas_file_counts_nothing_twice_where_several_processes_tell_all(
    tmp_path: Path,
) -> None:
    """Of a metric's series, one for each process, the greatest is taken before anything else."""
    async with served(tmp_path) as (url, _):
        found = await exported(url)
    board = json.loads((ROOT / "infra" / "grafana.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    for expression in asked:
        taken = _GREATEST.findall(expression)
        assert len(taken) == len(re.findall(r"voxrelay_", expression)), expression
        for by, name, given in taken:
            told = set(re.findall(r"\w+", by)) | set(re.findall(r"(\w+)=", given))
            assert told == {label for each, _ in found[name] for label in each}, expression


_GREATEST = re.compile(
    r"max(?: by \(([\w, ]+)\) )?\s*\((?:increase|rate)?\(?(voxrelay_\w+)(\{[^}]*\})?"
)


async def test_the_page_shows_the_figures_in_a_browser(tmp_path: Path) -> None:
    from playwright.async_api import async_playwright

    if CHROMIUM is None:
        unavailable("there is no chromium on this machine")
    async with served(tmp_path) as (url, shelf), async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 340, "height": 800})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        await page.goto(url)
        await page.select_option("#span", "day 90 1")
        days = total(await shelf.rows(Size.DAY))
        delivered = days["jobs", "delivered"]
        await page.locator(
            "#sums div:has-text('delivered') dd", has_text=f"{delivered}"
        ).first.wait_for()
        label = await page.locator("#jobs svg[role=img]").get_attribute("aria-label")
        assert f"delivered {delivered}" in str(label)
        assert await page.locator("#delay polyline, #delay circle").count() > 0
        row = page.locator("#funnel tbody tr", has_text="gentle")
        assert (await row.locator("td").all_inner_texts())[3:5] == [
            str(days["jobs", "rejected"]),
            str(delivered),
        ]
        wide = await row.locator("td").first.evaluate("cell => cell.clientWidth")
        assert wide > 60, "a name is read across, on a phone too"
        assert "manner" in await page.inner_text("#kinds")
        assert "0.1.0" in await page.inner_text("#versions")
        assert "words" in await page.inner_text("#rules")
        stages = await page.locator("#stages tbody td:first-child").all_inner_texts()
        assert stages == ["delivery", "moderation", "synth"]
        label = await page.locator("#after svg[role=img]").get_attribute("aria-label")
        played, rated = days["jobs", "played"], days["jobs", "rated"]
        assert f"played {played}, rated {rated}" in str(label)
        stars = await page.locator("#stars tbody td:last-child").all_inner_texts()
        assert sum(map(int, stars)) == rated > 0
        await page.click("#jobs summary")
        assert await page.locator("#jobs tbody tr").count() > 0
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 340, "nothing is wider than a phone"
        more = messages(100, seed=9, now=datetime.now(UTC))
        late = datetime.now(UTC) + timedelta(minutes=1)
        later = [replace(each, offset=each.offset + 100_000) for each in records(more, now=late)]
        await shelf.take(later, {})
        after = total(await shelf.rows(Size.DAY))["jobs", "delivered"]
        assert after > delivered
        await page.locator("#sums dd", has_text=f"{after}").first.wait_for()  # without a reload
        assert not wrong, wrong
        await browser.close()


@pytest.mark.parametrize("sql", ["sqlite", "postgresql"])
async def test_the_process_counts_and_shows_what_became_of_the_jobs(
    lived: Lived, request: pytest.FixtureRequest, sql: str
) -> None:
    settings = lived.settings
    if sql == "postgresql":
        key = settings.data / MASTER_FILE
        given = {"sql": request.getfixturevalue("database"), "master_key_file": key}
        settings = settings.model_copy(update=given)
    async with (
        open_spine(settings) as spine,
        open_analytics(AnalyticsSettings(port=0))(spine) as (counter, http),
    ):
        assert isinstance(http, HttpWorker)
        tasks = [asyncio.create_task(worker.run()) for worker in (counter, http)]
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{http.port}") as client,
            asyncio.timeout(60),
        ):
            jobs: dict[str, int] = {}
            while jobs.get("delivered") != 4 or jobs.get("rejected") != 3:
                answer = await client.get("/v1/figures?size=hour&last=24")
                jobs = answer.json()["total"].get("jobs", {})
        for worker in (counter, http):
            worker.stop()
        await asyncio.gather(*tasks)
    assert jobs["accepted"] == len(TEXTS)
