"""What an operator sees: health, readiness part by part, metrics; and trouble while it is there."""

from __future__ import annotations

import asyncio

import pytest

from ingest.gateway import Gateway
from relay.errors import Misconfigured, Unavailable
from relay.log.sqlite.log import SqliteLog
from relay.sql.database import Database
from tests.ingest.by_hand import in_outbox
from tests.ingest.conftest import House
from tests.ingest.test_jobs import wish


async def down(*_: object, **__: object) -> None:
    raise Unavailable("it does not answer")


async def hangs(*_: object) -> None:
    await asyncio.Event().wait()


async def test_a_well_gateway_is_ready(gateway: House) -> None:
    async with gateway.client() as client:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        ready = await client.get("/readyz")
        assert ready.status_code == 200, ready.text
        assert ready.json() == {"ready": True, "accepting": True, "troubles": {}}


async def test_readiness_names_what_is_down(
    gateway: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(gateway.objects), "check", down)
    async with gateway.client() as client:
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["troubles"] == {"objects": "it does not answer"}
        assert not ready.json()["accepting"]
        assert (await client.get("/healthz")).status_code == 200


async def test_what_an_operator_has_to_put_right_is_told(
    gateway: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(*_: object) -> None:
        raise Misconfigured("Kafka forbids it")

    monkeypatch.setattr(SqliteLog, "check", forbidden)
    async with gateway.client() as client:
        ready = await client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["troubles"] == {"log": "Kafka forbids it"}
    assert ready.json()["accepting"]


async def test_a_part_that_hangs_is_down(gateway: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.doors.operator.PATIENCE", 0.05)
    monkeypatch.setattr(type(gateway.objects), "check", hangs)
    async with gateway.client() as client:
        assert "within" in (await client.get("/readyz")).json()["troubles"]["objects"]


async def test_other_loops_of_the_process_are_heard(gateway: House) -> None:
    parts: Gateway = gateway.app.state.gateway
    parts.health.trouble("outbox-1", "the broker does not answer")
    async with gateway.client() as client:
        ready = await client.get("/readyz")
    assert ready.json()["troubles"] == {"outbox-1": "the broker does not answer"}
    assert ready.json()["accepting"]


async def test_with_the_log_down_jobs_are_accepted_all_the_same(
    gateway: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteLog, "check", down)
    async with gateway.client() as client:
        ready = (await client.get("/readyz")).json()
        assert (ready["ready"], ready["accepting"]) == (False, True)
        answer = await client.post("/v1/jobs", json=wish())
        assert answer.status_code == 202
    assert len(await in_outbox(gateway)) == 1


async def test_with_the_database_down_the_answer_says_so_and_comes_back(
    gateway: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway.client() as client:
        with monkeypatch.context() as broken:
            broken.setattr(Database, "reading", _unavailable)
            broken.setattr(Database, "transaction", _unavailable)
            answer = await client.post("/v1/jobs", json=wish())
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
            listed = await client.get("/v1/jobs")
            assert listed.status_code == 503
        assert (await client.post("/v1/jobs", json=wish())).status_code == 202


def _unavailable(*_: object) -> None:
    raise Unavailable("the database does not answer")


async def test_a_bug_is_a_problem_without_a_word_of_what_was_sent(
    gateway: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(type(gateway.objects), "put", broken)
    async with gateway.client() as client:
        answer = await client.post("/v1/jobs", json=wish())
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "RuntimeError at a door: test_operator.py" in caplog.text
    assert "secret" not in caplog.text


async def test_metrics_count_refusals_by_code_and_name_nobody(gateway: House) -> None:
    async with gateway.client() as client:
        await client.post("/v1/jobs", json={**wish(), "text": ""})
        await client.post("/v1/jobs", json=wish())
        text = (await client.get("/metrics")).text
    assert 'voxrelay_refused_total{code="text_empty"}' in text
    assert 'voxrelay_accepted_total{door="jobs"}' in text
    assert "127.0.0.1" not in text
