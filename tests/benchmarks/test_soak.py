"""The soak in small: it runs, every job is delivered, and what grows is told from what does not."""

from __future__ import annotations

import os
from argparse import Namespace
from collections import Counter
from pathlib import Path

import httpx
import pytest

from benchmarks.soak.__main__ import judged, soak
from benchmarks.soak.load import Load, recording
from benchmarks.soak.watch import Held, held, trend
from infra.stages import STAGES

SECONDS = [float(second) for second in range(100)]


def test_what_rises_for_good_is_not_flat_and_a_warm_up_or_a_wave_is() -> None:
    rising = [100 + second * 0.2 for second in SECONDS]
    warming = [min(100.0, 50 + second * 5) for second in SECONDS]
    waving = [100 + 10 * (second % 2) for second in SECONDS]
    assert not trend(SECONDS, rising).flat
    assert trend(SECONDS, warming).flat
    assert trend(SECONDS, waving).flat
    assert trend(SECONDS, rising).grown > 15


def test_one_process_that_grows_spoils_the_verdict() -> None:
    ten = Held(100, Counter(socket=10))
    flat = [(s, 1, 4, {"a": ten, "b": ten}) for s in SECONDS]
    grown = [(s, 1, 4, {"a": ten, "b": Held(100, Counter(socket=10, db=int(s)))}) for s in SECONDS]
    assert judged(flat, 10)["flat"]
    verdict = judged(grown, 10)
    assert not verdict["flat"]
    assert [each["more_files"] for each in verdict["processes"].values()] == [{}, {"db": 60}]
    assert judged(flat, 10)["lag"]["bounded"]
    at_rest = flat[0][-1]
    assert not judged([*flat, (100.0, 101, 4, at_rest)], 10)["lag"]["bounded"]
    assert judged([*flat, (100.0, 1, 400, at_rest)], 10)["lag"]["bounded"]
    assert not judged([*flat, (100.0, 1, 401, at_rest)], 10)["lag"]["bounded"]


def test_what_a_process_holds(tmp_path: Path) -> None:
    before = held(os.getpid())
    with (tmp_path / "file").open("w"):
        now = held(os.getpid())
    assert now.files == before.files + 1
    assert now.kinds["file"] == before.kinds["file"] + 1
    assert before.megabytes > 1


@pytest.mark.timeout(600)
def test_a_short_soak_delivers_every_job() -> None:
    assert recording(1) != recording(2)
    asked = Namespace(
        log="sqlite", minutes=0.05, load=0.5, capacity_seconds=3.0, every=0.5, folder=None
    )
    said = soak(asked)
    jobs = said["jobs"]
    assert jobs["delivered"] == jobs["sent"] > 0, said
    assert said["ended_twice"] == 0
    assert set(said["processes"]) == set(STAGES)
    assert set(said["cpu_ms_per_job"]) == {*STAGES, "load"}
    assert all(cost > 0 for cost in said["cpu_ms_per_job"].values())
    assert all(each["megabytes"]["parts"][0] > 10 for each in said["processes"].values())


async def test_what_is_refused_says_why() -> None:
    def door(request: httpx.Request) -> httpx.Response:
        match next(answers):
            case 202:
                return httpx.Response(202, json={"job_id": "a"})
            case 503:
                return httpx.Response(503, json={"code": "overloaded"})
            case 502:
                return httpx.Response(502, text="Bad Gateway")
            case 500:
                return httpx.Response(500, json=["no", "problem"])
        raise httpx.ConnectError("nobody listens", request=request)

    answers = iter([202, 503, 502, 500, 0, 503])
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(door), base_url="http://door"
    ) as client:
        load = Load(client)
        for _ in range(6):
            load.send()
        await load.sent_off()
    assert load.refusals == {"overloaded": 2, "502": 1, "500": 1, "ConnectError": 1}
    assert (load.sent, load.refused, load.inside) == (6, 5, 1)
