"""`python -m benchmarks.pipeline`: our chain on Kafka, a bare one on the same broker, and SQLite.

Prints one JSON document; starts a broker of its own and removes it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.pipeline.bare import bare_chain, handling, pass_on
from benchmarks.pipeline.chain import Chain, relay_chain
from benchmarks.pipeline.jobs import STAGES
from benchmarks.pipeline.measure import Meter
from infra.servers import kafka
from relay.log.marks import Marks
from relay.log.port import Log
from relay.log.sqlite import SqliteLog
from relay.runner import Limits
from relay.settings import Settings
from relay.sql.marks import SqlMarks
from relay.sql.open import open_database

Open = Callable[[], AbstractAsyncContextManager[Chain]]


@asynccontextmanager
async def _on(log: Log, partitions: int, limits: Limits) -> AsyncIterator[Chain]:
    async with relay_chain(log, partitions, limits) as chain:
        yield chain
    await log.close()


async def _measure(name: str, open_chain: Open, args: argparse.Namespace) -> dict[str, Any]:
    async with open_chain() as chain:
        meter = Meter(chain)
        await meter.throughput(args.jobs // 10, args.backlog)  # caches, connections, first claims
        full = await meter.throughput(args.jobs, args.backlog)
        steady = await meter.latency(args.rate, args.seconds)
        await meter.close()
    print(f"{name}: {full} at {args.rate}/s: {steady}", file=sys.stderr)
    return {"throughput": full.document(), "steady": steady.document()}


def _kafka_log(bootstrap: str, marks: Marks | None = None) -> Log:
    from relay.log.kafka import KafkaLog

    return KafkaLog(Settings(log=f"kafka://{bootstrap}"), marks=marks)


@asynccontextmanager
async def _marked(
    bootstrap: str, partitions: int, limits: Limits, folder: Path
) -> AsyncIterator[Chain]:
    """The chain on Kafka as a process runs it: how far it has come is noted in SQL, too."""
    database = await open_database(Settings(data=folder))
    marks = SqlMarks(database)
    async with _on(_kafka_log(bootstrap, marks), partitions, limits) as chain:
        yield chain
    await marks.close()
    await database.close()


async def _kafka(args: argparse.Namespace, limits: Limits, folder: Path) -> dict[str, Any]:
    with kafka(folder) as server:
        where, n = server.bootstrap, args.partitions
        chains: dict[str, Open] = {
            "bare_bytes": lambda: bare_chain(where, n, [pass_on] * len(STAGES)),
            "bare_handling": lambda: bare_chain(where, n, [handling(s()) for s in STAGES]),
            "kafka": lambda: _on(_kafka_log(where), n, limits),
            "kafka_marks": lambda: _marked(where, n, limits, folder),
        }
        found: dict[str, Any] = {name: [] for name in chains}
        for _ in range(args.rounds):
            for name, open_chain in chains.items():
                found[name].append(await _measure(name, open_chain, args))
        return found | {"kafka_throughput_against": _ratios(found)}


def _ratios(found: dict[str, Any]) -> dict[str, float]:
    """Our throughput over each other chain's, best round against best round."""
    best = {name: max(r["throughput"]["jobs_per_second"] for r in found[name]) for name in found}
    return {name: round(best["kafka"] / best[name], 2) for name in best if name != "kafka"}


async def _all(args: argparse.Namespace) -> dict[str, Any]:
    limits = Limits(in_flight=args.in_flight)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="voxrelay-bench-", dir=args.folder) as folder:
        if "kafka" in args.logs:
            found |= await _kafka(args, limits, Path(folder) / "kafka")
        if "sqlite" in args.logs:
            log = SqliteLog(Path(folder) / "log.db")
            found["sqlite"] = [
                await _measure("sqlite", lambda: _on(log, args.partitions, limits), args)
            ]
    return {"machine": machine(), "options": vars(args), **found}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--logs", nargs="+", default=["kafka", "sqlite"])
    parser.add_argument("--jobs", type=int, default=8000, help="for throughput")
    parser.add_argument("--backlog", type=int, default=4000, help="jobs inside the chain at most")
    parser.add_argument("--rate", type=float, default=50, help="jobs a second, for latency")
    parser.add_argument("--seconds", type=float, default=10, help="of the steady rate")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=256, help="per stage")
    parser.add_argument("--rounds", type=int, default=2, help="of the Kafka chains in turn")
    parser.add_argument("--folder", help="where data lies meanwhile (the system's temporary one)")
    return parser.parse_args()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_all(_arguments())), indent=2))
