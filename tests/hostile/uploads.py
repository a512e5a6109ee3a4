"""A gateway process under hostile uploads, and what it looks like from the outside afterwards.

Knows memory, children, files, rows and objects. Refuses to know what is sent.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import select

from infra.servers.process import descendants
from infra.stages import StageProcess
from ingest.progress import object_keys
from ingest.settings import IngestSettings
from relay.codec import decode, head_of
from relay.settings import Settings
from relay.spine import open_spine
from relay.sql.database import Database
from relay.sql.schema import jobs, outbox
from tests.hostile.handmade import AGAIN
from tests.hostile.sender import Outcome, Upload, send
from tests.journeys.conftest import settings_of
from voxrelay.up import environment, prepare

AT_ONCE = 4
TRIES = 20
"""Times that an upload is sent again which was told to come again."""
GROWTH = 40_000_000
"""Bytes by which the gateway may grow in the second half of a run; the first warms it up."""
WARM = 2_000
"""Uploads before which nobody is warm: a shorter run has a ceiling alone."""
GATEWAY_MEMORY = 500_000_000
PROBE_MEMORY = 350_000_000
SETTLE = 60.0

Sent = tuple[Upload, frozenset[str] | None]


@dataclass
class Report:
    """What a run came to; `wrong` is empty where all is well."""

    uploads: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    again: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    memory: list[int] = field(default_factory=list)
    """Of the gateway, in bytes: after a tenth, in the middle, at the end."""
    probe_memory: int = 0
    """The most that a probe was seen to hold."""
    wrong: list[str] = field(default_factory=list)


@contextmanager
def gateway(folder: Path) -> Iterator[tuple[StageProcess, Settings]]:
    """A gateway as the embedded relay runs it, with a folder of its own for temporary files."""
    (folder / "tmp").mkdir()
    given = {**environment(folder / "data", 1), "TMPDIR": str(folder / "tmp")}
    settings = settings_of({k: v for k, v in given.items() if k != "TMPDIR"})
    asyncio.run(prepare(settings))
    process = StageProcess("ingest", folder / "logs", given)
    process.start()
    try:
        yield process, settings
    finally:
        process.close()


def bombard(folder: Path, uploads: Iterator[Sent], count: int) -> Report:
    """Send all, several at once, and look at everything they could have left behind.

    `count` uploads; one with a set of codes has to be answered by one of them.
    """
    with gateway(folder) as (process, settings):
        report, accepted = asyncio.run(_send_all(process, uploads, count))
        report.wrong += asyncio.run(_left(settings, accepted))
        report.wrong += _looks(process.pid, folder)
    return report


async def _send_all(
    process: StageProcess, uploads: Iterator[Sent], count: int
) -> tuple[Report, set[str]]:
    report, accepted = Report(), set[str]()
    waiting = enumerate(uploads)
    looks = {count // 10, count // 2, count - 1}
    begun = time.monotonic()

    async def work(client: httpx.AsyncClient) -> None:
        for n, (upload, codes) in waiting:
            outcome = await _insist(client, upload, report, codes)
            _note(report, upload, outcome, codes)
            accepted.update({outcome.job} if outcome.job else ())
            if n in looks:
                report.memory.append(resident(process.pid))
            if n % 500 == 0:
                print(f"{time.monotonic() - begun:7.1f} s  {n} uploads", file=sys.stderr)
            if n % 20 == 0:
                seen = [report.probe_memory, *map(resident, descendants(process.pid))]
                report.probe_memory = max(seen)

    async with httpx.AsyncClient(base_url=process.url, timeout=60) as client:
        await asyncio.gather(*(work(client) for _ in range(AT_ONCE)))
    report.seconds = time.monotonic() - begun
    grew = report.memory[-1] - report.memory[1]
    if max(report.memory) > GATEWAY_MEMORY or (count >= WARM and grew > GROWTH):
        report.wrong.append(f"the gateway grew: {report.memory}")
    if report.probe_memory > PROBE_MEMORY:
        report.wrong.append(f"a probe held {report.probe_memory} bytes")
    return report, accepted


async def _insist(
    client: httpx.AsyncClient, upload: Upload, report: Report, codes: frozenset[str] | None
) -> Outcome:
    """Send it until it is judged: who is told to come again comes again."""
    for _ in range(TRIES):
        outcome = await send(client, upload)
        if outcome.code != AGAIN or outcome.wrong or AGAIN in (codes or ()):
            return outcome
        report.again += 1
        report.slowest = max(report.slowest, outcome.seconds)
        await asyncio.sleep(outcome.again_in)
    outcome.wrong.append(f"sent away {TRIES} times")
    return outcome


def _note(report: Report, upload: Upload, outcome: Outcome, codes: frozenset[str] | None) -> None:
    report.uploads += 1
    report.codes[outcome.code] = report.codes.get(outcome.code, 0) + 1
    report.slowest = max(report.slowest, outcome.seconds)
    if codes is not None and outcome.code not in codes:
        outcome.wrong.append(f"answered {outcome.code}")
    report.wrong += [f"{upload.name} ({upload.door}): {what}" for what in outcome.wrong]


async def _left(settings: Settings, accepted: set[str]) -> list[str]:
    """Rows and objects of jobs that were refused; all that is left are those of the accepted."""
    wrong = []
    async with open_spine(settings) as spine:
        async with asyncio.timeout(SETTLE):
            while await _in_outbox(spine.database):  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.05)
        async with spine.database.reading() as tx:
            rows = {str(id_) for id_ in (await tx.execute(select(jobs.c.id))).scalars()}
        records = [record async for record in spine.log.read(["prompt-uploaded"])]
        named = {
            key for record in records for key in object_keys(decode(record, head_of(record), None))
        }
        kept = {stat.key async for stat in spine.store.list("")}
    if rows != accepted or {record.key for record in records} != accepted:
        wrong.append(f"{len(accepted)} accepted, {len(rows)} rows, {len(records)} events")
    if kept != named:
        wrong.append(f"{len(kept - named)} objects of nobody, {len(named - kept)} missing")
    return wrong


async def _in_outbox(database: Database) -> bool:
    async with database.reading() as tx:
        return (await tx.execute(select(outbox.c.id).limit(1))).one_or_none() is not None


def _looks(pid: int, folder: Path) -> list[str]:
    wrong = [f"a temporary file was left: {path.name}" for path in (folder / "tmp").iterdir()]
    making = folder / "data" / "objects" / ".making"
    wrong += [f"a half-made object was left: {path.name}" for path in making.glob("*")]
    if len(descendants(pid)) > IngestSettings().probe_processes:
        wrong.append(f"the gateway has {len(descendants(pid))} children")
    return wrong


def resident(pid: int) -> int:
    """Bytes in memory; 0 where the process has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
