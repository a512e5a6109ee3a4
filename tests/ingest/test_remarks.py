"""What people make of a job that has ended: each once on the log, and a page for whoever has it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update

from ingest.remarks import MOST_REPORTS
from relay.codec import decode, head_of
from relay.log.port import Record
from relay.sql.afterwards import remarks, shared_pages
from schemas.events import Event, SpeechPlayed, SpeechRated, SpeechReported
from schemas.topics import AFTERWARDS
from tests.ingest.by_hand import Chain, in_outbox, verdict
from tests.ingest.conftest import House, house, served
from tests.ingest.test_jobs import send, wish
from tests.servers import unavailable

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LATER = {topic.name for topic in AFTERWARDS}
STRANGER = "198.51.100.7"


async def delivered(gateway: House, client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/jobs", json={**wish(), "style": "gentle"})
    job = str(answer.json()["job_id"])
    chain = await Chain.of(gateway, job)
    await chain.uploaded()
    await chain.approved()
    await chain.delivered()
    return job


async def later(gateway: House, job: str) -> list[tuple[Record, Event]]:
    """What was said of the job since it ended, as the log will have it."""
    found = [each for each in await in_outbox(gateway, job) if each.topic in LATER]
    heads = [head_of(record) for record in found]
    return [
        (record, decode(record, head, await gateway.keys.key(head.person)))
        for record, head in zip(found, heads, strict=True)
    ]


@pytest.fixture
async def client(gateway: House) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as client:
        yield client


async def test_playing_is_counted_once(gateway: House, client: httpx.AsyncClient) -> None:
    job = await delivered(gateway, client)
    for _ in range(3):
        assert (await client.post(f"/v1/jobs/{job}/played")).status_code == 202
    ((record, event),) = await later(gateway, job)
    assert isinstance(event, SpeechPlayed)
    assert (event.style, event.spoken.voice) == ("gentle", "zf_001")
    assert event.code_version == verdict().code_version
    (first,) = [each for each in await in_outbox(gateway, job) if each.topic == "prompt-uploaded"]
    was, head = head_of(first), head_of(record)
    assert (head.key, head.time, head.source) == (was.key, was.time, was.source)


async def test_a_rating_stands_and_its_note_lies_sealed(
    gateway: House, client: httpx.AsyncClient
) -> None:
    job = await delivered(gateway, client)
    rating = {"stars": 4, "note": "很像我妈妈"}
    for _ in range(2):
        assert (await client.post(f"/v1/jobs/{job}/rating", json=rating)).status_code == 202
    other = await client.post(f"/v1/jobs/{job}/rating", json={"stars": 1})
    assert (other.status_code, other.json()["code"]) == (409, "rated_already")
    ((record, event),) = await later(gateway, job)
    assert isinstance(event, SpeechRated)
    assert (event.stars, event.note) == (4, "很像我妈妈")
    assert "妈妈".encode() not in record.value
    async with gateway.database.reading() as tx:
        (row,) = (await tx.execute(select(remarks))).all()
    assert "妈妈" not in str(row)


@pytest.mark.parametrize(
    "body", [{"stars": 0}, {"stars": 6}, {"stars": "5"}, {"stars": 3, "note": "\x00"}, {}]
)
async def test_a_rating_that_is_none_is_refused(client: httpx.AsyncClient, body: object) -> None:
    answer = await client.post(f"/v1/jobs/{UUID(int=1)}/rating", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "fields_invalid")


async def test_what_was_not_spoken_is_neither_played_nor_rated_nor_shared(
    gateway: House, client: httpx.AsyncClient
) -> None:
    job = (await send(client)).json()["job_id"]
    chain = await Chain.of(gateway, job)
    for way, body in (
        ("played", None),
        ("rating", {"stars": 1}),
        ("report", {"reason": "other"}),
        ("share", None),
    ):
        answer = await client.post(f"/v1/jobs/{job}/{way}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "speech_lacking"), way
    early = await client.post(f"/v1/jobs/{job}/appeal", json={"note": "why"})
    assert (early.status_code, early.json()["code"]) == (409, "appeal_unknown_state")
    await chain.rejected()
    for _ in range(2):
        appeal = await client.post(f"/v1/jobs/{job}/appeal", json={"note": "这是台词"})
        assert appeal.status_code == 202
    ((record, _),) = await later(gateway, job)
    assert record.topic == "prompt-appealed"


async def test_a_report_is_taken_once_for_each_reason_and_has_a_deadline(
    gateway: House, client: httpx.AsyncClient
) -> None:
    job = await delivered(gateway, client)
    for reason in ("fraud", "quality", "fraud"):
        answer = await client.post(f"/v1/jobs/{job}/report", json={"reason": reason})
        assert answer.status_code == 202
    events = [event for _, event in await later(gateway, job)]
    assert [e.reason for e in events if isinstance(e, SpeechReported)] == ["fraud", "quality"]
    async with gateway.database.reading() as tx:
        rows = (await tx.execute(select(remarks))).all()
    assert {(row.deadline - row.at).days for row in rows} == {3}


async def test_shared_speech_is_heard_by_whoever_has_the_address_until_it_ends(
    gateway: House, client: httpx.AsyncClient
) -> None:
    job = await delivered(gateway, client)
    shared = (await client.post(f"/v1/jobs/{job}/share")).json()
    assert (await client.post(f"/v1/jobs/{job}/share")).json()["url"] == shared["url"]
    path = httpx.URL(shared["url"]).path
    async with gateway.client(STRANGER) as stranger:
        page = await stranger.get(path)
        assert page.status_code == 200
        assert "unsafe" not in page.headers["content-security-policy"]
        assert "AI 合成 / synthetic" in page.text
        told = (await stranger.get(f"{path}/speech")).json()
        assert told["synthetic"] is True
        assert "你好" not in str(told)
        assert (await stranger.get(told["audio"]["url"])).status_code == 200
        guess = path[:-4] + "AAAA"
        assert (await stranger.get(guess)).status_code == 404
        assert (await stranger.get(f"{guess}/speech")).json()["code"] == "page_unknown"
        assert (await client.delete(f"/v1/jobs/{job}/share")).status_code == 204
        for ended in (path, f"{path}/speech"):
            assert (await stranger.get(ended)).status_code == 404
        again = (await client.post(f"/v1/jobs/{job}/share")).json()
        assert again["url"] != shared["url"], "an address that was ended is never good again"


async def test_what_is_shared_is_told_and_listed_to_its_person_alone(
    gateway: House, client: httpx.AsyncClient
) -> None:
    jobs = [await delivered(gateway, client) for _ in range(3)]
    shares = [(await client.post(f"/v1/jobs/{job}/share")).json() for job in jobs[:2]]

    async def listed(who: httpx.AsyncClient, **more: str) -> list[tuple[str, Any]]:
        answer = (await who.get("/v1/jobs", params={"limit": "1", **more})).json()
        more["cursor"] = answer["cursor"]
        rest = await listed(who, **more) if answer["cursor"] else []
        return [(each["job_id"], each["share"]) for each in answer["jobs"]] + rest

    newest_first = [(jobs[1], shares[1]), (jobs[0], shares[0])]
    assert await listed(client, shared="true") == newest_first
    assert [share for _, share in await listed(client)][:3] == [None, shares[1], shares[0]]
    async with gateway.client(STRANGER) as stranger:
        assert await listed(stranger, shared="true") == []
    assert (await client.get(f"/v1/jobs/{jobs[0]}")).json()["share"] == shares[0]
    await client.delete(f"/v1/jobs/{jobs[0]}/share")
    async with gateway.database.transaction() as tx:
        await tx.execute(update(shared_pages).values(expires_at=tx.now))
    assert await listed(client, shared="true") == [], "one was withdrawn, one's days are over"
    assert (await client.get(f"/v1/jobs/{jobs[1]}")).json()["share"] is None


async def test_a_page_shows_nothing_when_its_days_are_over(
    gateway: House, client: httpx.AsyncClient
) -> None:
    job = await delivered(gateway, client)
    shared = (await client.post(f"/v1/jobs/{job}/share")).json()
    async with gateway.database.transaction() as tx:
        await tx.execute(update(shared_pages).values(expires_at=tx.now))
    path = httpx.URL(shared["url"]).path
    assert (await client.get(f"{path}/speech")).json()["code"] == "page_unknown"
    again = (await client.post(f"/v1/jobs/{job}/share")).json()
    assert again["url"] != shared["url"]


async def test_a_stranger_reports_so_often_and_a_job_is_reported_so_often(tmp_path: Path) -> None:
    async with house(tmp_path, reports_per_minute=2) as gateway, gateway.client() as client:
        job = await delivered(gateway, client)
        path = httpx.URL((await client.post(f"/v1/jobs/{job}/share")).json()["url"]).path
        body = {"reason": "not_my_voice", "note": "that is my mother"}
        codes = []
        for n in range(MOST_REPORTS + 2):
            async with gateway.client(f"198.51.100.{n // 2}") as stranger:
                codes.append((await stranger.post(f"{path}/report", json=body)).status_code)
        assert codes == [202] * MOST_REPORTS + [429, 429]
        async with gateway.client("198.51.100.0") as first:
            over = await first.post(f"{path}/report", json=body)
        assert (over.status_code, over.json()["code"]) == (429, "reports_too_often")
        events = [event for _, event in await later(gateway, job)]
    assert len(events) == MOST_REPORTS
    assert all(isinstance(e, SpeechReported) and e.shared for e in events)


async def test_a_stranger_hears_and_reports_in_a_browser(tmp_path: Path) -> None:
    from playwright.async_api import async_playwright

    if CHROMIUM is None:
        unavailable("there is no chromium on this machine")
    async with (
        house(tmp_path) as gateway,
        served(gateway) as address,
        async_playwright() as play,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        job = await delivered(gateway, client)
        url = (await client.post(f"/v1/jobs/{job}/share")).json()["url"]
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await (await browser.new_context(locale="en-GB")).new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(url)
        await page.wait_for_selector("#speech:not([hidden])")
        assert "/audio?" in (await page.get_attribute("#audio", "src") or "")
        assert "AI 合成 / synthetic" in await page.inner_text("#speech")
        await page.select_option("#reason", "fraud")
        await page.fill("#note", "they asked me for money")
        await page.screenshot(path=tmp_path / "shared.png", full_page=True)
        await page.press("#send", "Enter")
        await page.wait_for_selector("#said:has-text('A person will look')")
        (event,) = [event for _, event in await later(gateway, job)]
        assert isinstance(event, SpeechReported)
        assert (event.reason, event.note, event.shared) == (
            "fraud",
            "they asked me for money",
            True,
        )
        await client.delete(f"/v1/jobs/{job}/share")
        await page.reload()
        await page.wait_for_selector("#gone:has-text('no longer')")
        assert wrong == []
        await browser.close()
