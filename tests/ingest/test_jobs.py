"""Sending jobs, asking for them, and looking through them."""

from __future__ import annotations

import asyncio
import base64
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from relay.codec import decode, head_of
from relay.sql.schema import idempotency, jobs
from schemas.events import PromptUploaded
from tests.ingest.by_hand import Chain, in_outbox
from tests.ingest.conftest import House, house
from tests.ingest.sounds import tone, wav


def wish(recording: bytes | None = None, **fields: object) -> dict[str, Any]:
    """The body of a request, as JSON."""
    sound = wav() if recording is None else recording
    return {"text": "你好，世界", "recording": base64.b64encode(sound).decode(), **fields}


async def send(client: httpx.AsyncClient, key: str | None = None, **fields: object) -> Any:
    headers = {} if key is None else {"idempotency-key": key}
    return await client.post("/v1/jobs", json=wish(**fields), headers=headers)


async def test_an_accepted_job_is_found_and_lies_sealed_in_the_outbox(gateway: House) -> None:
    async with gateway.client() as client:
        sent = await client.post(
            "/v1/jobs",
            json=wish(mode="instruct", instruct=" 请轻声地说。 ", speed=1.25, seed=7, format="wav"),
            headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
        )
        assert sent.status_code == 202, sent.text
        job = sent.json()
        assert (job["state"], job["ended"], job["seq"]) == ("accepted", False, 0)
        found = await client.get(sent.headers["location"])
        assert found.json()["job_id"] == job["job_id"]
        assert found.json()["text"] == "你好，世界"
    (record,) = await in_outbox(gateway, job["job_id"])
    assert "你好".encode() not in record.value
    assert b"127.0.0.1" not in record.value
    head = head_of(record)
    assert head.traceparent == f"00-{'a' * 32}-{'b' * 16}-01"
    event = decode(record, head, await gateway.keys.key(head.person))
    assert isinstance(event, PromptUploaded)
    assert (event.text, event.instruct) == ("你好，世界", "请轻声地说。")
    assert (event.speed, event.seed, event.format, event.door) == (1.25, 7, "wav", "jobs")
    assert event.address == "127.0.0.1"
    assert (await gateway.objects.get(event.recording.key)).startswith(b"fLaC")


async def test_no_row_holds_a_word_and_an_erased_person_has_none(gateway: House) -> None:
    async with gateway.client() as client:
        job = (await send(client, text="秘密的话")).json()
        assert job["text"] == "秘密的话"
        async with gateway.database.reading() as tx:
            row = (await tx.execute(select(jobs))).one()
        assert "秘密" not in str(row)
        async with gateway.database.transaction() as tx:
            await gateway.keys.destroy(tx, row.person)
        shown = await client.get(f"/v1/jobs/{job['job_id']}")
        assert (shown.status_code, shown.json()["text"]) == (200, None)
        again = await send(client)
        assert (again.status_code, again.json()["code"]) == (410, "person_erased")


async def test_multipart_is_taken_and_names_are_not_believed(gateway: House) -> None:
    async with gateway.client() as client:
        fields = {"text": "hello", "speed": "1.5", "instruct": ""}
        file = ("notes.txt", wav(), "text/plain")
        sent = await client.post("/v1/jobs", data=fields, files={"recording": file})
        assert sent.status_code == 202, sent.text
        raw = {"text": "hello", "pcm": '{"sample_rate": 16000}'}
        samples = ("x", tone(2.0).tobytes())
        sent = await client.post("/v1/jobs", data=raw, files={"recording": samples})
        assert sent.status_code == 202, sent.text


async def test_samples_without_a_header_are_taken_only_when_declared(gateway: House) -> None:
    samples = tone(2.0).tobytes()
    async with gateway.client() as client:
        undeclared = await send(client, recording=samples)
        declared = await send(client, recording=samples, pcm={"sample_rate": 16_000})
    assert undeclared.json()["code"] == "recording_not_audio"
    assert declared.status_code == 202


async def test_an_unknown_job_and_anothers_job_are_the_same_problem(gateway: House) -> None:
    async with gateway.client("192.0.2.1") as owner, gateway.client("192.0.2.2") as other:
        job = (await send(owner)).json()["job_id"]
        assert (await owner.get(f"/v1/jobs/{job}")).status_code == 200
        for path in (job, f"{job}/events", uuid.uuid4(), "not-a-job"):
            answer = await other.get(f"/v1/jobs/{path}")
            assert answer.status_code == 404
            assert answer.json()["code"] == "job_unknown"
            assert answer.headers["content-type"] == "application/problem+json"


async def test_the_history_is_paged_and_ones_own(gateway: House) -> None:
    async with gateway.client("192.0.2.1") as client, gateway.client("192.0.2.2") as other:
        sent = [(await send(client, text=f"句子{n}")).json()["job_id"] for n in range(5)]
        await send(other)
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
            page = (await client.get("/v1/jobs", params=query)).json()
            seen += [job["job_id"] for job in page["jobs"]]
            cursor = page["cursor"]
        assert seen == sent[::-1]
        assert cursor is None
        for wrong in ("nonsense", "%00", "你好", base64.b64encode(b"x|y").decode()):
            answer = await client.get("/v1/jobs", params={"cursor": wrong})
            assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")


async def test_states_reasons_and_steps_are_shown(gateway: House) -> None:
    async with gateway.client() as client:
        job = (await send(client)).json()["job_id"]
        chain = await Chain.of(gateway, job)
        await chain.uploaded()
        await chain.rejected()
        shown = (await client.get(f"/v1/jobs/{job}")).json()
    assert (shown["state"], shown["ended"], shown["seq"]) == ("rejected", True, 2)
    assert [step["state"] for step in shown["steps"]] == ["uploaded", "rejected"]
    assert shown["reasons"] == [
        {"code": "word_forbidden", "message": "含有违禁词。", "where": "text"}
    ]
    assert "recording/" not in str(shown), "an object's key is nobody's business"


async def test_the_same_request_many_times_at_once_is_one_job(tmp_path: Path) -> None:
    async with house(tmp_path, quota_per_minute=1, quota_burst=1, probe_processes=2) as gateway:
        async with gateway.client() as client:
            answers = await asyncio.gather(*(send(client, key="k1") for _ in range(8)))
            later = await send(client, key="k1")
        assert {answer.status_code for answer in (*answers, later)} == {202}
        assert len({answer.json()["job_id"] for answer in (*answers, later)}) == 1
        async with gateway.database.reading() as tx:
            assert (await tx.execute(select(func.count()).select_from(jobs))).scalar() == 1
        assert len(await in_outbox(gateway)) == 1


async def test_the_decoded_content_decides_whether_a_request_is_the_same(gateway: House) -> None:
    async with gateway.client() as client, gateway.client("192.0.2.9") as other:
        first = (await send(client, key="k")).json()["job_id"]
        # The same sound and words in a form instead of JSON, with a white space more.
        form = await client.post(
            "/v1/jobs",
            data={"text": " 你好，世界 "},
            files={"recording": ("a", wav())},
            headers={"idempotency-key": "k"},
        )
        assert form.json()["job_id"] == first
        for changed in ({"text": "再见"}, {"seed": 1}, {"recording": wav(3.0)}):
            answer = await send(client, key="k", **changed)
            assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
        assert (await send(other, key="k")).json()["job_id"] != first, "keys are a person's own"


async def test_a_day_later_the_key_makes_a_new_job(gateway: House) -> None:
    async with gateway.client() as client:
        first = (await send(client, key="k")).json()["job_id"]
        async with gateway.database.transaction() as tx:
            past = tx.now - timedelta(hours=25)
            await tx.execute(update(idempotency).values(created_at=past))
        second = (await send(client, key="k", text="别的")).json()["job_id"]
        assert second != first
        assert (await send(client, key="k", text="别的")).json()["job_id"] == second


@pytest.mark.parametrize("key", ["", "with space", "x" * 201])
async def test_a_key_that_is_none_is_refused(gateway: House, key: str) -> None:
    async with gateway.client() as client:
        answer = await send(client, key=key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_invalid")


async def test_quota_is_per_person_and_a_refused_request_costs_nothing(tmp_path: Path) -> None:
    async with (
        house(tmp_path, quota_per_minute=3, quota_burst=2) as gateway,
        gateway.client("192.0.2.1") as one,
        gateway.client("192.0.2.2") as other,
    ):
        assert (await send(one, text="")).status_code == 422
        assert [(await send(one)).status_code for _ in range(3)] == [202, 202, 429]
        refused = await send(one)
        assert refused.json()["code"] == "quota_exceeded"
        assert 1 <= int(refused.headers["retry-after"]) <= 21
        assert (await send(other)).status_code == 202


async def test_nobody_enters_without_a_token_unless_the_operator_says_so(tmp_path: Path) -> None:
    async with house(tmp_path, anonymous=False) as gateway, gateway.client() as client:
        for answer in (await send(client), await client.get("/v1/jobs")):
            assert (answer.status_code, answer.json()["code"]) == (401, "token_required")
        tts = await client.post("/tts", json={})
        assert tts.status_code == 401
        assert set(tts.json()) == {"error", "task_id"}
