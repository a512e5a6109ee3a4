"""`python -m benchmarks.growth`: what an event costs at the end of a short log and of a long one.

Fills one log of each size, then runs the chain at their ends, in turn. Prints one JSON document.
Ten million events take about 10 GB while it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.growth.history import fill_kafka, fill_sqlite
from benchmarks.machine import cpu_of, machine, spread
from benchmarks.pipeline.chain import relay_chain
from benchmarks.pipeline.jobs import STAGES
from benchmarks.pipeline.measure import Meter
from infra.servers import kafka
from relay.log.kafka import KafkaLog
from relay.log.port import Log
from relay.log.sqlite import SqliteLog
from relay.runner import Limits
from relay.settings import Settings
from schemas.topics import topic_of

Opened = tuple[Callable[[], Log], Callable[[], float]]
"""How the log is opened, and the CPU its server has used."""


@contextmanager
def _sqlite(folder: Path, events: int, partitions: int) -> Iterator[Opened]:
    path = folder / "log.db"
    asyncio.run(fill_sqlite(path, events, partitions))
    yield lambda: SqliteLog(path), lambda: 0.0


@contextmanager
def _kafka(folder: Path, events: int, partitions: int) -> Iterator[Opened]:
    with kafka(folder) as server:
        asyncio.run(fill_kafka(server.bootstrap, events, partitions))
        settings = Settings(log=f"kafka://{server.bootstrap}")
        yield lambda: KafkaLog(settings), lambda: cpu_of(server.pid)


LOGS: dict[str, Callable[[Path, int, int], AbstractContextManager[Opened]]] = {
    "sqlite": _sqlite,
    "kafka": _kafka,
}


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Both sizes, all rounds; the short log is made anew for each round, or it would grow."""
    small, large = args.events
    found: dict[int, list[dict[str, Any]]] = {small: [], large: []}
    with (
        tempfile.TemporaryDirectory(prefix="voxrelay-growth-", dir=args.folder) as name,
        _filled(args, Path(name), large) as long,
    ):
        for n in range(args.rounds):
            with _filled(args, Path(name) / str(n), small) as short:
                found[small].append(asyncio.run(_measure(*short, small, args)))
            found[large].append(asyncio.run(_measure(*long, large, args)))
    return {"machine": machine(), "options": vars(args), "rounds": found, "growth": _growth(found)}


@contextmanager
def _filled(args: argparse.Namespace, folder: Path, events: int) -> Iterator[Opened]:
    begun = time.monotonic()
    with LOGS[args.log](folder / str(events), events, args.partitions) as opened:
        _tell(f"{events} events written in {time.monotonic() - begun:.0f} s")
        yield opened


async def _measure(
    open_log: Callable[[], Log], server_cpu: Callable[[], float], events: int, args: Any
) -> dict[str, Any]:
    log, begun = open_log(), time.monotonic()
    async with relay_chain(log, args.partitions, Limits(in_flight=args.in_flight)) as chain:
        meter = Meter(chain, lambda: time.process_time() + server_cpu())
        await meter.throughput(1, 2, batch=1)
        start = time.monotonic() - begun
        await meter.throughput(args.jobs // 10, args.backlog)
        full = await meter.throughput(args.jobs, args.backlog)
        await meter.close()
        lag = await _lag_ms(log)
    await log.close()
    said = {
        "start_s": start,
        "lag_ms": lag,
        "cpu_ms": full.cpu_ms,
        "ms_per_job": 1000 / full.jobs_per_second,
    }
    _tell(f"{events} events before: {said}")
    return {what: round(value, 3) for what, value in said.items()}


async def _lag_ms(log: Log) -> float:
    """To ask how far behind every stage is."""
    begun = time.perf_counter()
    for stage in STAGES:
        await log.lag(stage.name, [topic_of(event) for event in stage.consumes])
    return (time.perf_counter() - begun) * 1000


def _growth(found: dict[int, list[dict[str, Any]]]) -> dict[str, list[float]]:
    """The long log over the short one, round by round."""
    short, long = found.values()
    return {
        what: spread(after[what] / before[what] for before, after in zip(short, long, strict=True))
        for what in short[0]
    }


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--log", choices=list(LOGS), default="sqlite")
    parser.add_argument("--events", type=int, nargs=2, default=[10_000, 10_000_000])
    parser.add_argument("--jobs", type=int, default=4000, help="through the chain, each round")
    parser.add_argument("--backlog", type=int, default=2000, help="jobs inside the chain at most")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=256, help="per stage")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where data lies meanwhile (the system's temporary one)")
    return parser.parse_args()


if __name__ == "__main__":
    print(json.dumps(run(_arguments()), indent=2))
