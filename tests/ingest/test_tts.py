"""`POST /tts`: the first client's contract, word for word."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from ingest.gateway import Gateway
from relay.errors import Unavailable
from tests.ingest.by_hand import SOUND, Chain, jobs_of, next_job
from tests.ingest.conftest import House, house
from tests.ingest.sounds import wav

pytestmark = pytest.mark.asyncio(loop_scope="module")


def asked(**fields: object) -> dict[str, Any]:
    return {
        "text": "你好",
        "prompt_audio": base64.b64encode(wav()).decode(),
        "mode": "zero_shot",
        **fields,
    }


@pytest_asyncio.fixture(loop_scope="module")
async def client(shared: House) -> AsyncIterator[httpx.AsyncClient]:
    async with shared.client() as client:
        yield client


async def answered(
    gateway: House, client: httpx.AsyncClient, tell: Callable[[Chain], Awaitable[None]]
) -> httpx.Response:
    """The answer to a request whose job `tell` moves while the client waits."""
    before = await jobs_of(gateway)
    waiting = asyncio.create_task(client.post("/tts", json=asked()))
    chain = await Chain.of(gateway, await next_job(gateway, before))
    await chain.uploaded()
    await tell(chain)
    async with asyncio.timeout(20):
        return await waiting


async def test_speech_is_answered_with_its_address(
    shared: House, client: httpx.AsyncClient
) -> None:
    answer = await answered(shared, client, Chain.delivered)
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"success", "audio_url", "task_id", "duration"}
    assert (body["success"], body["duration"]) == (True, 2.0)
    assert (await client.get(body["audio_url"])).content == SOUND
    assert (await client.get(f"/v1/jobs/{body['task_id']}")).json()["state"] == "delivered"


@pytest.mark.parametrize(
    ("tell", "status", "sentence"),
    [
        (Chain.rejected, 400, "含有违禁词。"),
        (Chain.failed, 500, "Unreadable."),
        (Chain.held, 202, "人工审核"),
    ],
)
async def test_an_end_without_speech_is_answered_at_once(
    shared: House,
    client: httpx.AsyncClient,
    tell: Callable[[Chain], Awaitable[None]],
    status: int,
    sentence: str,
) -> None:
    answer = await answered(shared, client, tell)
    body = answer.json()
    assert (answer.status_code, set(body)) == (status, {"error", "task_id"})
    assert sentence in body["error"]
    assert body["task_id"]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"text": None}, "缺少文本", "missing"),
    ({"text": ""}, "缺少文本", "missing"),
    ({"text": "  "}, "缺少文本", "missing"),
    ({"text": "字" * 201}, "200", "200"),
    ({"text": "a\u0001"}, "控制字符", "control"),
    ({"text": 5}, "text", "text"),
    ({"prompt_audio": None}, "缺少录音", "missing"),
    ({"prompt_audio": ""}, "缺少录音", "missing"),
    ({"prompt_audio": "???"}, "base64", "base64"),
    ({"prompt_audio": base64.b64encode(b"text" * 99).decode()}, "不是录音", "not a recording"),
    ({"mode": "shout"}, "mode", "mode"),
    ({"mode": "instruct"}, "instruct", "instruct"),
]


@pytest.mark.parametrize(("fields", "zh", "en"), REFUSED)
async def test_refusals_in_the_language_asked_for(
    client: httpx.AsyncClient, fields: dict[str, Any], zh: str, en: str
) -> None:
    for language, part in ((None, zh), ("en", en)):
        headers = {"accept-language": language} if language else {}
        answer = await client.post("/tts", json=asked(**fields), headers=headers)
        body = answer.json()
        assert (answer.status_code, set(body)) == (400, {"error", "task_id"}), body
        assert part in body["error"]
        assert body["task_id"] is None


async def test_what_is_no_request_at_all(client: httpx.AsyncClient) -> None:
    for content, status in ((b"", 400), (b"{", 400), (b"[]", 400), (b"x" * 12_000_001, 413)):
        answer = await client.post("/tts", content=content)
        assert (answer.status_code, set(answer.json())) == (status, {"error", "task_id"})
    refused = await client.get("/tts")
    assert (refused.status_code, set(refused.json())) == (405, {"error", "task_id"})


async def test_200_characters_are_taken(client: httpx.AsyncClient, shared: House) -> None:
    before = await jobs_of(shared)
    waiting = asyncio.create_task(client.post("/tts", json=asked(text="字" * 200, extra=1)))
    assert await next_job(shared, before)
    waiting.cancel()


async def test_after_the_wait_the_job_goes_on_and_is_found(tmp_path: Path) -> None:
    async with house(tmp_path, tts_wait=0.3) as gateway, gateway.client() as client:
        answer = await client.post("/tts", json=asked())
        assert answer.status_code == 504
        assert set(answer.json()) == {"error", "task_id"}
        job = answer.json()["task_id"]
        assert (await client.get(f"/v1/jobs/{job}")).json()["state"] == "accepted"


async def test_whoever_asks_again_after_a_review_waits_for_the_end(
    shared: House, client: httpx.AsyncClient
) -> None:
    async def ask() -> httpx.Response:
        return await client.post("/tts", json=asked(), headers={"idempotency-key": "reviewed"})

    before = await jobs_of(shared)
    first = asyncio.create_task(ask())
    chain = await Chain.of(shared, await next_job(shared, before))
    await chain.uploaded()
    await chain.held()
    assert (await first).status_code == 202
    await chain.approved()
    second = asyncio.create_task(ask())
    assert not (await asyncio.wait({second}, timeout=0.5))[0], "it was held, and goes on since"
    await chain.delivered()
    async with asyncio.timeout(20):
        assert (await second).status_code == 200


async def test_with_the_database_lost_after_accepting_the_job_can_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        raise Unavailable("the database does not answer")

    async with house(tmp_path, tts_wait=0.05) as gateway, gateway.client() as client:
        monkeypatch.setattr(Gateway, "job", lost)
        answer = await client.post("/tts", json=asked())
        assert answer.status_code == 504
        assert {answer.json()["task_id"]} == await jobs_of(gateway)


async def test_a_store_that_is_down_is_said_so_and_nothing_is_accepted(
    shared: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object) -> bool:
        raise Unavailable("the store does not answer")

    monkeypatch.setattr(type(shared.objects), "put", down)
    before = await jobs_of(shared)
    answer = await client.post("/tts", json=asked())
    assert (answer.status_code, set(answer.json())) == (503, {"error", "task_id"})
    assert int(answer.headers["retry-after"]) > 0
    assert await jobs_of(shared) == before
