"""Doors for operators and auditors: what waits is seen and decided once; who looked is known."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select, update

from infra.topics import apply
from ingest.accounts import access_keys
from ingest.accounts.access_keys import PREFIX, Wanted
from ingest.accounts.roles import Role
from ingest.view import View
from relay.codec import decode, encode, head_of
from relay.sql.afterwards import shared_pages
from relay.sql.schema import jobs
from relay.stage import Context
from schemas.envelope import Head
from schemas.events import (
    AccessRecorded,
    ComplaintDecided,
    Event,
    PromptApproved,
    PromptHeld,
    PromptReviewed,
)
from schemas.topics import topic_of
from tests.audit.test_waiting import feed, hold, kill, published
from tests.ingest.by_hand import Chain, in_outbox
from tests.ingest.conftest import House, house, served
from tests.ingest.test_jobs import wish
from tests.ingest.test_remarks import delivered
from tests.schemas.make_examples import EXAMPLES
from tests.servers import unavailable

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, local_operator=True) as opened:
        await apply(opened.spine.log, opened.spine.settings)
        yield opened


@pytest.fixture
async def client(gateway: House) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as client:
        yield client


async def seen(gateway: House, topic: str, key: str) -> None:
    """Let the view see what the log has of `key` in `topic`, at the log's own time."""
    view = View(gateway.database, gateway.doorbell)
    async for record in gateway.spine.log.read([topic], key=key):
        head = head_of(record)
        event = decode(record, head, await gateway.keys.key(head.person))
        await view.handle(event, Context(head, b"", record.appended))


async def held(gateway: House) -> Head:
    at = await hold(gateway.spine)
    await seen(gateway, topic_of(PromptHeld), at.key)
    return at


async def events_of(gateway: House, kind: type[Event]) -> list[Any]:
    """Events of a kind that are on their way to the log."""
    found = []
    for record in await in_outbox(gateway):
        head = head_of(record)
        if head.type == kind.TYPE:
            found.append(decode(record, head, await gateway.keys.key(head.person)))
    return found


async def test_a_held_prompt_is_seen_whole_and_decided_once(
    gateway: House, client: httpx.AsyncClient
) -> None:
    at, was = await held(gateway), EXAMPLES["held"]
    assert isinstance(was, PromptHeld)
    (item,) = (await client.get("/v1/review")).json()["items"]
    assert (item["id"], item["kind"], item["job"]) == (at.key, "held", at.key)
    assert (item["text"], item["transcript"]) == (was.text, was.transcript)
    assert item["deadline"] > item["since"]
    assert "/recording?" in item["recording_url"]
    (looked,) = await events_of(gateway, AccessRecorded)
    assert (looked.actor, looked.action, looked.opened) == ("local", "review", True)
    word = {"approve": True, "reason": "a line of a play"}
    decided = await client.post(f"/v1/review/{at.key}", json=word)
    assert decided.json() == {"id": at.key, "kind": "held", "approved": True}
    late = await client.post(f"/v1/review/{at.key}", json={**word, "approve": False})
    assert (late.status_code, late.json()["code"]) == (404, "review_unknown")
    assert (await client.get("/v1/review")).json()["items"] == []
    (review,) = await events_of(gateway, PromptReviewed)
    assert (review.approved, review.reviewer, review.note) == (True, "local", word["reason"])


async def test_what_was_decided_just_now_hides_nothing_that_waits_behind_it(
    gateway: House, client: httpx.AsyncClient
) -> None:
    first, second, third = [(await held(gateway)).key for _ in range(3)]
    word = {"approve": True, "reason": "a line of a play"}
    assert (await client.post(f"/v1/review/{first}", json=word)).is_success  # the view lags
    page = (await client.get("/v1/review", params={"limit": 1})).json()
    assert [each["id"] for each in page["items"]] == [second]
    rest = {"limit": 1, "cursor": page["cursor"]}
    page = (await client.get("/v1/review", params=rest)).json()
    assert ([each["id"] for each in page["items"]], page["cursor"]) == ([third], None)


async def test_reports_and_appeals_wait_in_the_same_queue_the_oldest_first(
    gateway: House, client: httpx.AsyncClient
) -> None:
    at = await held(gateway)
    job = await delivered(gateway, client)
    await client.post(f"/v1/jobs/{job}/report", json={"reason": "fraud", "note": "a trick"})
    refused = (await client.post("/v1/jobs", json=wish())).json()["job_id"]
    await (await Chain.of(gateway, refused)).rejected()
    await client.post(f"/v1/jobs/{refused}/appeal", json={"note": "a line of a play"})
    items, cursor = [], ""
    while cursor is not None:
        query = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/review", params=query)).json()
        items += page["items"]
        cursor = page["cursor"]
    assert [each["job"] for each in items] == [at.key, job, refused]
    assert [each["kind"] for each in items] == ["held", "report", "appeal"]
    assert [each["note"] for each in items] == [None, "a trick", "a line of a play"]
    assert items[1]["reasons"] == ["fraud"]
    (only,) = (await client.get("/v1/review", params={"kind": "appeal"})).json()["items"]
    assert only == {**items[2], "recording_url": only["recording_url"]}
    wrong = await client.get("/v1/review", params={"cursor": "nonsense"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "cursor_invalid")


async def test_a_report_that_is_right_ends_the_shared_page(
    gateway: House, client: httpx.AsyncClient
) -> None:
    job = await delivered(gateway, client)
    await _approved(gateway, job)
    await client.post(f"/v1/jobs/{job}/share")
    await client.post(f"/v1/jobs/{job}/report", json={"reason": "not_my_voice"})
    (item,) = (await client.get("/v1/review")).json()["items"]
    assert item["text"] == "你好"
    word = {"approve": True, "reason": "she called"}
    assert (await client.post(f"/v1/review/{item['id']}", json=word)).status_code == 200
    assert (await client.post(f"/v1/review/{item['id']}", json=word)).status_code == 404
    (event,) = await events_of(gateway, ComplaintDecided)
    assert (str(event.about), event.upheld, event.note) == (item["id"], True, "she called")
    async with gateway.database.reading() as tx:
        assert (await tx.execute(select(shared_pages))).all() == []


async def test_whoever_complains_sees_what_came_of_it_and_not_what_strangers_said(
    gateway: House, client: httpx.AsyncClient
) -> None:
    job = await delivered(gateway, client)
    address = (await client.post(f"/v1/jobs/{job}/share")).json()["url"]
    said = await client.post(f"{address}/report", json={"reason": "offensive"})
    assert said.is_success
    for reason in ("quality", "fraud"):
        await client.post(f"/v1/jobs/{job}/report", json={"reason": reason})
    items = (await client.get("/v1/review")).json()["items"]
    assert len(items) == 3

    async def told() -> list[tuple[str, bool | None, bool]]:
        found = (await client.get(f"/v1/jobs/{job}")).json()["complaints"]
        assert {each["kind"] for each in found} == {"report"}
        return [(each["reason"], each["upheld"], each["decided_at"] is None) for each in found]

    assert await told() == [("quality", None, True), ("fraud", None, True)]
    for item in items:
        word = {"approve": item["reasons"] == ["fraud"], "reason": "looked"}
        assert (await client.post(f"/v1/review/{item['id']}", json=word)).status_code == 200
    assert await told() == [("quality", False, False), ("fraud", True, False)]
    (listed,) = (await client.get("/v1/jobs")).json()["jobs"]
    assert listed["complaints"] is None


async def test_a_door_that_finds_no_topic_for_what_it_has_to_write_says_so_and_shows_nothing(
    gateway: House, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await held(gateway)
    with closing(sqlite3.connect(gateway.spine.settings.data / "log.db")) as line, line:
        line.execute("update topics set name = 'other' where name = 'access-recorded'")
    answer = await client.get("/v1/review")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_set_up")
    assert "items" not in answer.json()
    assert "access-recorded is missing: run `voxrelay topics apply`" in caplog.text


async def _approved(gateway: House, job: str) -> None:
    """The event with the words, on the log, and seen by the view."""
    chain = await Chain.of(gateway, job)
    event = PromptApproved(**{**chain._judged(), "text": "你好"})
    head = chain.head.child(topic_of(event), 0, event.TYPE)
    await feed(gateway.spine, [encode(event, head, await gateway.keys.key(head.person))])
    await seen(gateway, topic_of(event), job)


async def test_a_dead_letter_is_seen_opened_on_demand_and_sent_again_once(
    gateway: House, client: httpx.AsyncClient
) -> None:
    was = await kill(gateway.spine)
    (letter,) = (await client.get("/v1/dead")).json()["letters"]
    assert (letter["job"], letter["code"]) == (was.key, "handler_failed")
    path = f"/v1/dead/{letter['id']}"
    assert (await client.get(path)).json()["payload"]["text"].keys() == {"sealed"}
    opened = (await client.get(path, params={"open": "true", "reason": "why"})).json()
    assert opened["payload"]["text"] == "你好, 世界"
    looks = await events_of(gateway, AccessRecorded)
    assert [(look.action, look.opened) for look in looks] == [
        ("dead list", False),
        ("dead show", False),
        ("dead show", True),
    ]
    assert (await client.post(f"{path}/redrive")).json() == {"done": 1}
    for again in (f"{path}/redrive", f"{path}/discard"):
        answer = await client.post(again)
        assert (answer.status_code, answer.json()["code"]) == (404, "dead_unknown")


async def test_an_auditor_finds_a_job_and_sees_its_trail(
    gateway: House, client: httpx.AsyncClient
) -> None:
    job = await delivered(gateway, client)
    await client.post(f"/v1/jobs/{job}/rating", json={"stars": 2, "note": "meh"})
    await published(gateway.spine, "speech-rated", 1)
    trail = (await client.get(f"/v1/audit/trail/{job}", params={"reason": "complaint 17"})).json()
    assert [step["topic"] for step in trail["steps"]] == ["prompt-uploaded", "speech-rated"]
    assert trail["steps"][1]["event"]["note"] == "meh"
    shut = (await client.get(f"/v1/audit/trail/{job}", params={"sealed": "true"})).json()
    assert shut["steps"][0]["event"]["text"] == {"sealed": True}
    query = {"user": trail["person"], "since": "2020-01-01T00:00:00"}
    (found,) = (await client.get("/v1/audit/jobs", params=query)).json()["found"]
    assert found["job"] == job
    nobody = await client.get("/v1/audit/jobs", params={"user": str(uuid4())})
    assert nobody.json() == {"found": [], "more": False, "cursor": None}
    unknown = await client.get(f"/v1/audit/trail/{uuid4()}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "trail_unknown")
    looks = await events_of(gateway, AccessRecorded)
    assert [(look.action, look.reason) for look in looks[:1]] == [("trail", "complaint 17")]
    assert {look.action for look in looks} == {"trail", "search"}


async def test_a_search_looks_at_so_many_records_an_answer_and_goes_on_by_its_cursor(
    gateway: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [(await hold(gateway.spine)).key for _ in range(5)]
    monkeypatch.setattr("audit.search.SCANNED", 2)
    searches: list[tuple[dict[str, str], list[str]]] = [({}, sent), ({"rule": "nothing"}, [])]
    for query, wanted in searches:
        cursor: str | None = ""
        found, pages = list[str](), 0
        while cursor is not None:
            asked = {"verdict": "held", **query, **({"cursor": cursor} if cursor else {})}
            said = (await client.get("/v1/audit/jobs", params=asked)).json()
            assert said["more"] == (said["cursor"] is not None)
            found += [each["job"] for each in said["found"]]
            pages, cursor = pages + 1, said["cursor"]
        assert sorted(found) == sorted(wanted)
        assert pages == 3
    limited: dict[str, Any] = {"verdict": "held", "limit": 1}
    first = (await client.get("/v1/audit/jobs", params=limited)).json()
    assert len(first["found"]) == 1
    for other in ({"verdict": "delivered"}, {"cursor": "junk"}, {"cursor": "W10="}):
        asked = limited | {"cursor": first["cursor"]} | other
        answer = await client.get("/v1/audit/jobs", params=asked)
        assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")
    both = {"verdict": "delivered", "rule": "weapons"}
    answer = await client.get("/v1/audit/jobs", params=both)
    assert (answer.status_code, answer.json()["code"]) == (422, "search_contradicts")


async def test_only_who_is_on_the_machine_is_its_operator_without_a_token(gateway: House) -> None:
    async with gateway.client("192.0.2.1") as stranger:
        for path in ("/v1/review", "/v1/dead", "/v1/status", "/v1/audit/jobs"):
            answer = await stranger.get(path)
            assert (answer.status_code, answer.json()["code"]) == (401, "token_required")
    assert await events_of(gateway, AccessRecorded) == []


async def test_the_status_says_what_waits_and_where(
    gateway: House, client: httpx.AsyncClient
) -> None:
    await held(gateway)
    job = await delivered(gateway, client)
    await client.post(f"/v1/jobs/{job}/report", json={"reason": "quality"})
    told = (await client.get("/v1/status")).json()
    assert told["ready"]
    assert told["jobs"]["held"] == 1
    assert told["complaints"]["report"] == {"waiting": 1, "overdue": 0}
    assert told["lags"] == {"moderation": 0, "synth": 0, "delivery": 0}
    assert told["outbox"] == 2
    assert told["stopped"] == {}
    assert told["ended_last_hour"] == {"delivered": 1, "rejected": 0, "failed": 0}
    async with gateway.database.transaction() as tx:
        await tx.execute(update(jobs).values(updated_at=tx.now - timedelta(hours=2)))
    told = (await client.get("/v1/status")).json()
    assert told["ended_last_hour"] == {"delivered": 0, "rejected": 0, "failed": 0}


async def test_an_auditor_signs_in_finds_and_reads_in_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playwright.async_api import async_playwright

    if CHROMIUM is None:
        unavailable("there is no chromium on this machine")
    async with (
        house(tmp_path, anonymous=False) as gateway,
        served(gateway) as address,
        async_playwright() as play,
    ):
        await apply(gateway.spine.log, gateway.spine.settings)
        keys = {role: await _key(gateway, role) for role in (Role.USER, Role.AUDITOR)}
        async with gateway.client(headers={"authorization": f"Bearer {keys[Role.USER]}"}) as user:
            job = await delivered(gateway, user)
        await published(gateway.spine, "prompt-uploaded", 1)
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await (await browser.new_context(locale="en-GB")).new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(f"http://{address}/audit")
        await page.fill("#token", keys[Role.USER])
        await page.press("#token", "Enter")
        await page.wait_for_selector("#error:has-text('not an auditor')")
        await page.fill("#token", keys[Role.AUDITOR])
        await page.press("#token", "Enter")
        await page.wait_for_selector("#find:not([hidden])")
        await page.select_option("#verdict", "uploaded")
        await page.press("#rule", "Enter")
        await page.click(f"#rows button:has-text('{job}')")
        await page.wait_for_selector("#trail:not([hidden])")
        assert "prompt-uploaded" in await page.inner_text("#steps")
        assert await page.evaluate("document.activeElement.id") == "trail"
        await page.screenshot(path=tmp_path / "audit.png", full_page=True)
        await page.click("#language")
        assert await page.inner_text("#h-find") == "查找任务"
        await page.click("#out")
        assert await page.inner_text("#steps") == ""
        assert wrong == []
        await browser.close()


async def _key(gateway: House, role: Role) -> str:
    wanted = Wanted(role.value, role)
    _, handed = await gateway.database.run(lambda tx: access_keys.create(tx, wanted))
    return handed.spelled(PREFIX)


@pytest.mark.parametrize(
    ("package", "name"), [("audit.page", "index.html"), ("ingest.page", "shared.html")]
)
def test_pages_have_the_same_words_in_both_languages_and_nothing_of_strangers(
    package: str, name: str
) -> None:
    from importlib.resources import files

    text = files(package).joinpath(name).read_text("utf-8")
    zh, en = (_words(text, language) for language in ("zh", "en"))
    assert zh == en
    used = set(re.findall(r'data-t="(\w+)"', text)) | set(re.findall(r'say\("(\w+)"\)', text))
    assert used <= zh
    assert not re.search(r"(src|href)=[\"'](https?:)?//|\son\w+=|\sstyle=|innerHTML", text)


def _words(text: str, language: str) -> set[str]:
    block = re.search(rf"^  {language}: {{.*?}},$", text, re.M | re.S)
    assert block is not None
    return set(re.findall(r"(\w+): (?:\"|n =>)", re.sub(r'"[^"]*"', '""', block.group(0))))
