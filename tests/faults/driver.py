"""Submits seeded jobs through the doors while faults happen, and waits until all is quiet."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from itertools import count, cycle
from uuid import UUID, uuid5

import httpx
from httpx_retries import Retry, RetryTransport

from tests.faults.attendant import attended
from tests.faults.blows import deal, launch
from tests.faults.house import House
from tests.faults.jobs import sound, text
from tests.faults.plan import Fault
from tests.journeys.steps import ENDED

SPACE = UUID("c0ffee00-0000-4000-8000-000000000000")
JOBS_A_SECOND = 2.0
AT_ONCE = 8
PATIENCE = 60.0
"""Seconds that a client waits for an answer: longer than a gateway is frozen, or slow."""
FIRST = -10
"""A job that comes before anything is broken: once it has ended, work flows."""
LAST = 4
"""Jobs that come when nothing is broken any more: whoever died must not be waited for."""
SETTLE_SECONDS = 240.0
DOOR_SECONDS = 30.0


@dataclass
class Run:
    """What was done and what came of it."""

    seed: int
    accepted: dict[str, str] = field(default_factory=dict)
    """Job id by idempotency key."""
    kills: int = 0
    unfinished: set[str] = field(default_factory=set)
    missed: list[str] = field(default_factory=list)
    """Instants that nobody passed in time: something was killed at another moment instead."""
    trouble: list[str] = field(default_factory=list)
    broker_restarts: int = 0
    """How often a person had to start the broker again, since it told offsets of old."""


Tell = Callable[[str], None]


async def drive(house: House, faults: Iterable[Fault], seed: int, tell: Tell) -> Run:
    """Break the house while jobs come in; then mend it and wait until every job has ended.

    An interrupt (Ctrl-C) ends the plan early; what was done is looked at all the same.
    """
    enough = asyncio.Event()

    async def act(run: Run) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, enough.set)
        for fault in faults:
            if enough.is_set():
                break
            await asyncio.sleep(fault.wait)
            tell(f"{fault.how} {' '.join(fault.targets)} for {fault.lasts:.1f} s")
            struck = await deal(house, fault)
            await _door_open(house)
            run.kills += struck.hits
            run.missed += struck.missed
            run.trouble += struck.trouble

    async with attended(house) as attendant:
        run = await under_load(house, seed, act)
    run.broker_restarts = attendant.restarts
    return run


async def under_load(house: House, seed: int, act: Callable[[Run], Awaitable[None]]) -> Run:
    """`act` while jobs come in; then mend the house and wait until every job has ended."""
    run = Run(seed)
    await mend(house)  # one door may be open before the other, and it is asked first
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        await _one(client, house, run, FIRST)
    await _settle(house, run)
    over = asyncio.Event()
    submitting = asyncio.create_task(_submit(house, run, over))
    try:
        await act(run)
        over.set()
        await submitting
    finally:
        submitting.cancel()
    await mend(house)
    async with httpx.AsyncClient(timeout=PATIENCE) as client:  # through a house made whole
        for n in range(-LAST, 0):
            await _one(client, house, run, n)
    run.unfinished = await _settle(house, run)
    return run


async def _door_open(house: House) -> None:
    """Until a gateway takes requests, ready or not: else a plan would kill an idle house."""
    until = time.monotonic() + DOOR_SECONDS
    doors = cycle(house.doors)
    async with httpx.AsyncClient(timeout=2) as client:
        while time.monotonic() < until:
            try:
                await client.get(f"{next(doors)}/healthz")
                return
            except httpx.HTTPError:
                for server in house.stages.values():
                    launch(server)
                await asyncio.sleep(0.1)


async def mend(house: House) -> None:
    """Start whatever does not run, and wait until all of it says that it is ready."""
    until = time.monotonic() + 60
    while time.monotonic() < until and not all(s.running for s in house.all.values()):
        for server in house.all.values():
            launch(server)
        await asyncio.sleep(0.1)
    for server in house.all.values():
        await asyncio.to_thread(server.wait_ready)


async def _submit(house: House, run: Run, over: asyncio.Event) -> None:
    """Job after job, each sent again under its key until it is accepted."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client, asyncio.TaskGroup() as sending:
        turns = asyncio.Semaphore(AT_ONCE)
        for n in count():
            await turns.acquire()
            if over.is_set():
                return
            task = sending.create_task(_one(client, house, run, n))
            task.add_done_callback(lambda _: turns.release())
            try:
                await asyncio.wait_for(over.wait(), 1 / JOBS_A_SECOND)
            except TimeoutError:
                continue


async def _one(client: httpx.AsyncClient, house: House, run: Run, n: int) -> None:
    key = str(uuid5(SPACE, f"{run.seed}/{n}"))
    run.accepted[key] = await send(client, house, text(n), sound(n), key)


async def send(client: httpx.AsyncClient, house: House, words: str, voice: bytes, key: str) -> str:
    """Send a job, at one door after another, until one has accepted it; its id."""
    for door in cycle(house.doors):
        try:
            answer = await client.post(
                f"{door}/v1/jobs",
                data={"text": words},
                files={"recording": voice},
                headers={"Idempotency-Key": key},
            )
        except httpx.HTTPError:
            await asyncio.sleep(0.1)  # the gateway is down: nothing to await but time
            continue
        if answer.status_code == 202:
            return str(answer.json()["job_id"])
        assert answer.status_code in (409, 500, 503), answer.text
        await asyncio.sleep(0.2)
    raise AssertionError("a house without a door")


async def _settle(house: House, run: Run) -> set[str]:
    """Wait until every job has ended; those that have not once none has for so long."""
    waiting = set(run.accepted.values())
    ended_at = time.monotonic()
    again = RetryTransport(retry=Retry(total=5, backoff_factor=0.5))
    async with httpx.AsyncClient(base_url=house.doors[0], timeout=30, transport=again) as client:
        while waiting and time.monotonic() < ended_at + SETTLE_SECONDS:
            for job in list(waiting):  # thousands of them: one look may take minutes
                shown = (await client.get(f"/v1/jobs/{job}")).json()
                if shown.get("state") in ENDED:
                    waiting.discard(job)
                    ended_at = time.monotonic()
            await asyncio.sleep(0.2)
    return waiting
