"""Sending jobs and asking for them."""

from __future__ import annotations

import base64
import uuid

from tests.ingest.conftest import House
from tests.ingest.sounds import wav


def wish(**fields: object) -> dict[str, object]:
    return {"text": "你好，世界", "recording": base64.b64encode(wav()).decode(), **fields}


async def test_json_is_accepted_and_found(gateway: House) -> None:
    async with gateway.client() as client:
        sent = await client.post("/v1/jobs", json=wish())
        assert sent.status_code == 202, sent.text
        job = sent.json()
        assert job["state"] == "accepted"
        found = await client.get(sent.headers["location"])
        assert found.status_code == 200
        assert found.json()["job_id"] == job["job_id"]


async def test_multipart_is_accepted(gateway: House) -> None:
    async with gateway.client() as client:
        sent = await client.post(
            "/v1/jobs", data={"text": "hello"}, files={"recording": ("a.txt", wav())}
        )
    assert sent.status_code == 202, sent.text


async def test_an_unknown_job_is_a_problem(gateway: House) -> None:
    async with gateway.client() as client:
        for job in (uuid.uuid4(), "not-a-job"):
            answer = await client.get(f"/v1/jobs/{job}")
            assert answer.status_code == 404
            assert answer.json()["code"] == "job_unknown"
            assert answer.headers["content-type"] == "application/problem+json"
