"""A shop and its cluster: the line is cut in mid-audio, processes die, and all get their audio."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from infra.servers import ToolMissing
from relay.settings import Settings
from relay.spine import open_spine
from relay.sql.schema import jobs as job_rows
from schemas.topics import BY_NAME, DEAD
from tests.bridge.shop import Shop, shop
from tests.bridge.sides import SITE
from tests.journeys.steps import listen, recording, send
from tests.servers import unavailable

PATIENCE = 300.0
CHAIN = ("prompt-uploaded", "prompt-approved", "speech-synthesized", "speech-delivered")


@pytest.fixture
def line() -> Iterator[Shop]:
    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may be another user
        try:
            with shop(Path(folder)) as opened:
                yield opened
        except ToolMissing as lacking:
            unavailable(str(lacking))


def until(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def started(*processes: Any) -> None:
    for process in processes:
        process.launch()
    for process in processes:
        process.wait_ready()


def line_is(shop: Shop, status: int) -> bool:
    try:
        return httpx.get(f"{shop.bridge_probes}/readyz", timeout=5).status_code == status
    except httpx.HTTPError:
        return False


def state(door: httpx.Client, job: str) -> str:
    return str(door.get(f"/v1/jobs/{job}").json()["state"])


@pytest.mark.timeout(1200)
def test_a_shop_behind_a_line_that_breaks(line: Shop) -> None:
    started(line.stages, line.ingest, line.bridge)
    with httpx.Client(base_url=line.ingest.url, timeout=60) as door:
        line.wire.cut_after(len(recording()) // 2)
        jobs = [send(door, "线断了。")]
        until(line.wire.cut_in_mid.is_set, "the recording never went over the line")
        until(lambda: line_is(line, 503), "the bridge does not say that its line is down")
        assert door.get("/readyz").status_code == 200  # the shop goes on
        jobs += [send(door, f"第{n}句。") for n in range(3)]
        assert {state(door, job) for job in jobs} <= {"accepted", "uploaded"}
        line.wire.mend()
        for n in range(3):  # killed with jobs on the way up, and outcomes on the way down
            jobs.append(send(door, f"再来{n}。"))
            line.bridge.kill()
            started(line.bridge)
            until(lambda: state(door, jobs[n]) == "delivered", "no outcome came down")  # noqa: B023
        line.servers["kafka"].kill()
        line.ingest.kill()
        started(line.servers["kafka"], line.ingest)
    with httpx.Client(base_url=line.ingest.url, timeout=60) as door:
        for job in jobs:
            until(lambda: state(door, job) == "delivered", f"job {job} never ended")  # noqa: B023
            assert_heard(door, job)
        until(lambda: line_is(line, 200), "the line is not well again")
        assert "voxrelay_bridge_line 1.0" in httpx.get(f"{line.bridge_probes}/metrics").text
    for settings in (line.edge, line.cluster):
        asyncio.run(assert_each_once(settings, jobs))


def assert_heard(door: httpx.Client, job: str) -> None:
    """The job's audio lies here, and is what the event says."""
    shown = door.get(f"/v1/jobs/{job}").json()
    sound = httpx.get(shown["audio"]["url"]).content
    assert sha256(sound).hexdigest() == shown["audio"]["sha256"]
    codec, seconds, tags = listen(sound)
    assert codec.startswith("mp3")
    assert seconds > 0.3
    assert tags
    assert {step["state"] for step in shown["steps"]} >= {"approved", "synthesized", "delivered"}


async def assert_each_once(settings: Settings, jobs: list[str]) -> None:
    """Both logs hold each event of each job once, and nothing else; both views know the jobs."""
    async with open_spine(settings) as spine:
        told = [record async for record in spine.log.read(list(BY_NAME))]
        assert Counter((r.key, r.topic) for r in told) == {(j, t): 1 for j in jobs for t in CHAIN}
        ids = Counter(dict(r.headers)["ce_id"] for r in told)
        assert set(ids.values()) == {1}
        assert {dict(r.headers)["ce_source"].decode() for r in told} == {SITE}
        assert [record async for record in spine.log.read(list(DEAD))] == []
        async with spine.database.reading() as tx:
            query = select(job_rows.c.site).where(job_rows.c.id.in_([UUID(job) for job in jobs]))
            assert list((await tx.execute(query)).scalars()) == [SITE] * len(jobs)
