"""Processes and servers that end in the middle of a job: it ends delivered, and once."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

from infra.stages import StageProcess
from tests.journeys.conftest import House
from tests.journeys.steps import ended, recording, send, told, until

pytestmark = pytest.mark.timeout(400)

WAITS_FOR = {
    "ingest": "accepted",
    "moderation": "uploaded",
    "synth": "approved",
    "delivery": "synthesized",
}
"""The state a job is in while a stage works on it."""


def assert_delivered_once(house: House, client: httpx.Client, job: str) -> None:
    """One event a step, one end, nothing left over."""
    assert ended(client, job)["state"] == "delivered"
    found = told(house.settings, job)
    assert Counter(topic for topic, _ in found) == {
        "prompt-uploaded": 1,
        "prompt-approved": 1,
        "speech-synthesized": 1,
        "speech-delivered": 1,
    }
    assert len({id_ for _, id_ in found}) == len(found)


@pytest.mark.parametrize("stage", list(WAITS_FOR))
def test_a_stage_ends_in_mid_job(house: House, client: httpx.Client, stage: str) -> None:
    """Stopped on the one set-up, killed on the other: with stand-ins `tests.faults` does both."""
    end = StageProcess.close if house.embedded else StageProcess.kill
    job = send(client, f"{stage} 停下的时候, 任务不会丢。")
    if stage != "ingest":
        until(client, job, WAITS_FOR[stage])
    end(house.stages[stage])
    house.stages[stage].start()
    assert_delivered_once(house, client, job)


def test_all_stages_end_at_once(house: House, client: httpx.Client) -> None:
    jobs = [send(client, f"第{n}个任务。") for n in range(3)]
    for stage in house.stages.values():
        stage.kill()
    for stage in house.stages.values():
        stage.launch()
    for stage in house.stages.values():
        stage.wait_ready()
    for job in jobs:
        assert_delivered_once(house, client, job)


def test_without_the_broker_jobs_are_accepted_and_wait(house: House, client: httpx.Client) -> None:
    if house.embedded:
        pytest.skip("the embedded log is a file")
    house.servers["kafka"].kill()
    job = send(client, "消息服务器不在。")
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "accepted"
    house.servers["kafka"].start()
    assert_delivered_once(house, client, job)


def test_without_the_database_the_door_says_so_and_accepted_jobs_end_well(
    house: House, client: httpx.Client
) -> None:
    if house.embedded:
        pytest.skip("the embedded database is a file")
    job = send(client, "数据库不在。")
    house.servers["postgres"].kill()
    refused = client.post("/v1/jobs", data={"text": "现在不行。"}, files={"recording": recording()})
    assert refused.status_code == 503
    assert refused.json()["code"] == "unavailable"
    assert client.get("/readyz").status_code == 503
    house.servers["postgres"].start()
    assert_delivered_once(house, client, job)


def test_without_the_store_accepted_jobs_wait_and_end_well(
    house: House, client: httpx.Client
) -> None:
    if house.embedded:
        pytest.skip("the embedded store is a folder")
    job = send(client, "存储不在。")
    house.servers["s3"].kill()
    until_ready_says_no(house, client)
    house.servers["s3"].start()
    assert_delivered_once(house, client, job)


def until_ready_says_no(house: House, client: httpx.Client) -> None:
    """Return once the gateway's readiness names the store."""
    for _ in range(100):
        answer = client.get("/readyz")
        if answer.status_code == 503:
            assert "store" in answer.text or "objects" in answer.text
            return
    raise AssertionError("readiness never said that the store is gone")
