"""How a fault is dealt: signals, armed instants, clean ends, stolen partitions.

Knows processes and the log's fences. Refuses to know plans, jobs and what should come of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from infra.servers.errors import ServerFailed
from infra.servers.process import Server
from infra.topics import groups
from relay.log.open import open_log
from relay.outbox import SOURCES
from relay.settings import Settings
from tests.faults.house import House
from tests.faults.instants import parts
from tests.faults.plan import Fault, rebalances

log = logging.getLogger(__name__)

INSTANT_SECONDS = 120.0
"""How long an instant is waited for; then its stage is hit where it stands."""
REBALANCES = 6
"""How often meanwhile somebody dies and joins again, where an instant needs that."""
_LOOK = 0.02


@dataclass
class Struck:
    """What a fault did: processes hit, instants that nobody passed, and what went wrong."""

    hits: int = 0
    missed: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)


async def deal(house: House, fault: Fault) -> Struck:
    """Let `fault` happen; when this returns everything that it hit runs again."""
    struck = Struck()
    if fault.how == "restart":
        for name in fault.targets:
            await _restart(house.stages[name], struck)
    elif fault.how == "fence":
        for server in house.servers.values():  # whoever fences has to reach them
            await asyncio.to_thread(server.wait_ready)
        for _ in range(2):
            await fence(house.settings, fault.targets)
    else:
        await asyncio.gather(*(_hit(house, fault, target, struck) for target in fault.targets))
    for server in house.all.values():
        launch(server)  # a stage may exit when its world breaks: who supervises it starts it again
    return struck


async def _hit(house: House, fault: Fault, target: str, struck: Struck) -> None:
    name, point = parts(target)
    victim = await _passing(house, fault, target, struck) if point else None
    server = house.all[victim or name]
    if victim is None:
        if server.running:
            (server.stop if fault.how == "freeze" else server.kill)()
    elif fault.how == "kill":  # it says that it is hit, and then is
        await _until(lambda: not server.running, INSTANT_SECONDS)
    struck.hits += 1
    await asyncio.sleep(fault.lasts)
    if fault.how == "freeze" and server.running:
        server.cont()
    launch(server)


async def _passing(house: House, fault: Fault, target: str, struck: Struck) -> str | None:
    """Who was hit at the instant `target`; None where nobody passed it in time."""
    newcomers = house.others(parts(target)[0]) if rebalances(target) else ()
    house.arms.arm(target, fault.how, 1 if newcomers else fault.passage)
    tries = REBALANCES if newcomers else 1
    for _ in range(tries):
        for server in newcomers:
            server.kill()
            launch(server)
        if await _until(lambda: house.arms.victim(target) is not None, INSTANT_SECONDS / tries):
            break
    if house.arms.disarm(target):
        struck.missed.append(target)
    return house.arms.victim(target)


async def _restart(server: Server, struck: Struck) -> None:
    """What an operator does to each process for a release: SIGTERM, and a start after its end."""
    launch(server)
    await asyncio.to_thread(server.wait_ready)
    server.ask_to_end()
    await _until(lambda: not server.running, server.ends_within_s)
    if server.ended_with != 0:
        struck.trouble.append(f"{server.name} was asked to end, and ended with {server.ended_with}")
    server.kill()
    launch(server)
    await asyncio.to_thread(server.wait_ready)


async def _until(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether it `holds` within `seconds`, as soon as it does: nothing announces it."""
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while True:
        if (held := holds()) or clock() > until:
            return held
        await asyncio.sleep(_LOOK)


def launch(server: Server) -> None:
    """In the main thread: a process dies with the thread that started it."""
    if not server.running:
        try:
            server.launch()
        except ServerFailed:  # its port is still being given back: the next fault starts it
            log.info("%s could not be started yet", server.name)


async def fence(settings: Settings, stages: Sequence[str]) -> None:
    """Take from every holder what it holds, as one would who took it for dead, and hold nothing."""
    opened = open_log(settings)
    try:
        for stage in stages:
            group = "view" if stage == "ingest" else stage
            await (_fence_sqlite if settings.embedded else _fence_kafka)(opened, group)
        if "ingest" in stages:
            for name in SOURCES:
                async with opened.source(name):
                    continue
    finally:
        await opened.close()


async def _fence_sqlite(opened: object, group: str) -> None:
    await opened.check()
    raised = 'update claims set epoch = epoch + 1 where "group" = ?'
    await opened.writer.call(lambda line: line.execute(raised, [group]).rowcount)


async def _fence_kafka(opened: object, group: str) -> None:
    link = opened._link
    for place in await link.partitions(groups()[group][:1]):
        heir = link.producer(f"{group}.{place.topic}.{place.partition}")
        await link.start(heir)
        await link.stop(heir)
