"""`python -m benchmarks.archive`: an hour's events read from the archive, and from the topics.

One log, archived in a folder, read round by round: from the topics, then, when these have dropped
everything, as one log from the archive alone. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from audit.archive import Archive
from audit.history import History
from audit.lines import HOUR, hour_of
from audit.roots import read_hour
from benchmarks.growth.history import TOPICS, fill_sqlite
from benchmarks.machine import machine
from infra.topics import apply
from relay.log.port import Log, Record
from relay.log.sqlite import SqliteLog
from relay.objects.disk import DiskStore
from relay.settings import Settings

_PARTITIONS = 4


async def run(folder: Path, events: int, rounds: int) -> dict[str, Any]:
    """What there is to say of a log with so many events."""
    whole, bare, begun = folder / "log.db", folder / "bare.db", hour_of(datetime.now(UTC))
    await fill_sqlite(whole, events, _PARTITIONS)
    store = DiskStore(folder / "objects")
    log = SqliteLog(whole)
    await apply(log, Settings(data=folder, partitions=_PARTITIONS))
    written = await _archive(log, store, [begun, begun + HOUR])
    await log.close()
    _empty(whole, bare)
    found = [await _round(whole, bare, store) for _ in range(rounds)]
    return {"machine": machine(), "events": events, "archived": written, "rounds": found}


async def _archive(log: Log, store: DiskStore, hours: Sequence[datetime]) -> dict[str, Any]:
    begun, cpu, count = time.perf_counter(), time.process_time(), 0
    for each in hours:
        async with read_hour(log, each) as hour:
            root = hour.root("benchmark")
        await _kept(store).add(log, root)
        count += root.records
    sizes = [stat.size async for stat in store.list("")]
    return {
        "events": count,
        "seconds": round(time.perf_counter() - begun, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "megabytes": round(sum(sizes) / 1e6, 1),
        "objects": len(sizes),
    }


def _kept(store: DiskStore) -> Archive:
    return Archive(store, timedelta(days=1))


def _empty(whole: Path, bare: Path) -> None:
    """A copy of the log whose topics have dropped everything."""
    shutil.copy(whole, bare)
    with closing(sqlite3.connect(bare)) as line, line:
        line.execute("delete from batches")


async def _round(whole: Path, bare: Path, store: DiskStore) -> dict[str, Any]:
    topics, empty = SqliteLog(whole), SqliteLog(bare)
    live = await _timed(topics.read(TOPICS))
    archived = await _timed(History(empty, _kept(store)).read(TOPICS))
    await topics.close()
    await empty.close()
    assert live[2] == archived[2], "they are the same log"
    return {
        "topics_per_second": round(live[2] / live[0]),
        "archive_per_second": round(live[2] / archived[0]),
        "ratio": round(live[0] / archived[0], 2),
        "ratio_by_cpu": round(live[1] / archived[1], 2),
    }


async def _timed(records: AsyncIterator[Record]) -> tuple[float, float, int]:
    """Seconds by the clock, seconds of CPU, and how many there were."""
    wall, cpu, count = time.perf_counter(), time.process_time(), 0
    async for _ in records:
        count += 1
    return time.perf_counter() - wall, time.process_time() - cpu, count


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where data lies meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    args = _arguments()
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        print(json.dumps(asyncio.run(run(Path(made), args.events, args.rounds)), indent=2))
