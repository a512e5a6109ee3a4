"""Submits seeded jobs through the door while faults happen, and waits until all is quiet."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid5

import httpx

from infra.servers.errors import ServerFailed
from infra.servers.process import Server
from tests.faults.house import House
from tests.faults.plan import Fault
from tests.journeys.steps import recording

log = logging.getLogger(__name__)

SPACE = UUID("c0ffee00-0000-4000-8000-000000000000")
JOBS_A_SECOND = 2.0
SETTLE_SECONDS = 240.0
DOOR_SECONDS = 30.0
ENDED = ("delivered", "rejected", "failed")


@dataclass
class Run:
    """What was done and what came of it."""

    seed: int
    accepted: dict[str, str] = field(default_factory=dict)
    """Job id by idempotency key."""
    kills: int = 0
    unfinished: set[str] = field(default_factory=set)
    trouble: list[str] = field(default_factory=list)


Tell = Callable[[str], None]


async def drive(house: House, faults: Sequence[Fault], seed: int, tell: Tell) -> Run:
    """Break the house while jobs come in; then mend it and wait until every job has ended."""

    async def act(run: Run) -> None:
        for fault in faults:
            await asyncio.sleep(fault.wait)
            tell(f"{fault.how} {' '.join(fault.targets)} for {fault.lasts:.1f} s")
            await _hurt(house, fault)
            await _door_open(house)
            run.kills += fault.kills

    return await under_load(house, seed, act)


async def under_load(house: House, seed: int, act: Callable[[Run], Awaitable[None]]) -> Run:
    """`act` while jobs come in; then mend the house and wait until every job has ended."""
    run = Run(seed)
    over = asyncio.Event()
    submitting = asyncio.create_task(_submit(house, run, over))
    try:
        await act(run)
        over.set()
        await submitting
    finally:
        submitting.cancel()
    await _mend(house)
    run.unfinished = await _settle(house, run)
    return run


async def _hurt(house: House, fault: Fault) -> None:
    hit = [house.all[name] for name in fault.targets]
    for server in hit:
        if not server.running:
            # A stage may exit when its world breaks: who supervises it starts it again.
            log.info("%s had ended by itself", server.name)
        elif fault.how == "freeze":
            server.stop()
        else:
            server.kill()
    await asyncio.sleep(fault.lasts)
    for server in hit:
        if fault.how == "freeze" and server.running:
            server.cont()
        _launch(server)
    for server in house.all.values():
        _launch(server)


async def _door_open(house: House) -> None:
    """Until the gateway takes requests, ready or not: else a plan would kill an idle house."""
    until = time.monotonic() + DOOR_SECONDS
    async with httpx.AsyncClient(base_url=house.url, timeout=2) as client:
        while time.monotonic() < until:
            try:
                await client.get("/healthz")
                return
            except httpx.HTTPError:
                _launch(house.stages["ingest"])
                await asyncio.sleep(0.1)


def _launch(server: Server) -> None:
    """In the main thread: a process dies with the thread that started it."""
    if not server.running:
        try:
            server.launch()
        except ServerFailed:  # its port is still being given back: the next fault starts it
            log.info("%s could not be started yet", server.name)


async def _mend(house: House) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and not all(s.running for s in house.all.values()):
        for server in house.all.values():
            _launch(server)
        await asyncio.sleep(0.1)
    for server in house.all.values():
        await asyncio.to_thread(server.wait_ready)


async def _submit(house: House, run: Run, over: asyncio.Event) -> None:
    """One job after another, each sent again under its key until it is accepted."""
    async with httpx.AsyncClient(base_url=house.url, timeout=10) as client:
        n = 0
        while not over.is_set():
            key = str(uuid5(SPACE, f"{run.seed}/{n}"))
            run.accepted[key] = await _send(client, f"第{n}句话。", key)
            n += 1
            try:
                await asyncio.wait_for(over.wait(), 1 / JOBS_A_SECOND)
            except TimeoutError:
                continue


async def _send(client: httpx.AsyncClient, text: str, key: str) -> str:
    sound = recording()
    while True:
        try:
            answer = await client.post(
                "/v1/jobs",
                data={"text": text},
                files={"recording": sound},
                headers={"Idempotency-Key": key},
            )
        except httpx.HTTPError:
            await asyncio.sleep(0.1)  # the gateway is down: nothing to await but time
            continue
        if answer.status_code == 202:
            job: str = answer.json()["job_id"]
            return job
        assert answer.status_code in (409, 500, 503), answer.text
        await asyncio.sleep(0.2)


async def _settle(house: House, run: Run) -> set[str]:
    """Wait until every job has ended; those that have not within bounds."""
    waiting = set(run.accepted.values())
    until = time.monotonic() + SETTLE_SECONDS
    async with httpx.AsyncClient(base_url=house.url, timeout=30) as client:
        while waiting and time.monotonic() < until:
            for job in list(waiting):
                shown = (await client.get(f"/v1/jobs/{job}")).json()
                if shown.get("state") in ENDED:
                    waiting.discard(job)
            await asyncio.sleep(0.2)
    return waiting
