"""`python -m benchmarks.peers`: the relay's chain beside plain aiokafka, FastStream and Celery.

The same jobs, the same no work, a round of each in turn. Prints one JSON document; starts a Kafka
and a RabbitMQ of its own and removes them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import cpu_of, machine, spread
from benchmarks.peers.celery_chain import CeleryChain, celery_worker
from benchmarks.peers.faststream_chain import as_documented, at_least_once, faststream_chain
from benchmarks.peers.rabbitmq import PortMapper, RabbitMq
from benchmarks.pipeline.bare import bare_chain, handling, pass_on
from benchmarks.pipeline.chain import Chain, relay_chain
from benchmarks.pipeline.jobs import STAGES
from benchmarks.pipeline.measure import Meter
from infra.servers import kafka
from relay.log.kafka import KafkaLog
from relay.runner import Limits
from relay.settings import Settings

Cpu = Callable[[], float]
Open = Callable[[], AbstractAsyncContextManager[tuple[Chain, Cpu]]]
OURS = "kafka"
PEERS = (
    "bare_handling",
    "bare_bytes",
    "faststream",
    "faststream_at_least_once",
    "celery",
    "celery_confirmed",
)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All rounds of all chains."""
    with tempfile.TemporaryDirectory(prefix="voxrelay-peers-", dir=args.folder) as name:
        folder = Path(name)
        mapper = PortMapper(folder / "epmd", None)
        with (
            kafka(folder / "kafka") as broker,
            mapper,
            RabbitMq(folder / "rabbit", mapper) as other,
        ):
            chains = _chains(broker.bootstrap, other.url, folder, args)
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in (OURS, *args.beside)}
            for _ in range(args.rounds):
                for name, rounds in found.items():
                    rounds.append(asyncio.run(_measure(name, chains[name], args)))
    return {"machine": machine(), "options": vars(args), "rounds": found, "ratios": ratios(found)}


def _chains(bootstrap: str, rabbit: str, folder: Path, args: argparse.Namespace) -> dict[str, Open]:
    count, here = args.partitions, time.process_time

    @asynccontextmanager
    async def ours() -> AsyncIterator[tuple[Chain, Cpu]]:
        log = KafkaLog(Settings(log=f"kafka://{bootstrap}"))
        async with relay_chain(log, count, Limits(in_flight=args.in_flight)) as chain:
            yield chain, here
        await log.close()

    @asynccontextmanager
    async def here_too(
        chain: AbstractAsyncContextManager[Chain],
    ) -> AsyncIterator[tuple[Chain, Cpu]]:
        async with chain as opened:
            yield opened, here

    @asynccontextmanager
    async def celery(*, confirmed: bool) -> AsyncIterator[tuple[Chain, Cpu]]:
        with celery_worker(folder / "celery", rabbit, confirmed=confirmed) as worker:
            yield CeleryChain(), lambda: here() + cpu_of(worker.pid)

    return {
        OURS: ours,
        "bare_handling": lambda: here_too(
            bare_chain(bootstrap, count, [handling(s()) for s in STAGES])
        ),
        "bare_bytes": lambda: here_too(bare_chain(bootstrap, count, [pass_on] * len(STAGES))),
        "faststream": lambda: here_too(faststream_chain(bootstrap, count, as_documented)),
        "faststream_at_least_once": lambda: here_too(
            faststream_chain(bootstrap, count, at_least_once(count))
        ),
        "celery": lambda: celery(confirmed=False),
        "celery_confirmed": lambda: celery(confirmed=True),
    }


async def _measure(name: str, open_chain: Open, args: argparse.Namespace) -> dict[str, Any]:
    async with open_chain() as (chain, cpu):
        meter = Meter(chain, cpu)
        await meter.throughput(args.jobs // 10, args.backlog)  # caches, connections, first claims
        full = await meter.throughput(args.jobs, args.backlog)
        steady = await meter.latency(args.rate, args.seconds)
        await meter.close()
    print(f"{name}: {full} at {args.rate}/s: {steady}", file=sys.stderr, flush=True)
    return {"throughput": full.document(), "steady": steady.document()}


def ratios(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Ours over each other's in the same round: min, median, max. Of latency, less is better."""
    asked = {
        "jobs_per_second": ("throughput", "jobs_per_second"),
        "cpu_ms": ("throughput", "cpu_ms"),
        "p50_ms": ("steady", "p50_ms"),
        "p99_ms": ("steady", "p99_ms"),
    }
    return {
        name: {
            what: spread(
                ours[part][field] / theirs[part][field]
                for ours, theirs in zip(found[OURS], rounds, strict=True)
            )
            for what, (part, field) in asked.items()
        }
        for name, rounds in found.items()
        if name != OURS
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--beside", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--jobs", type=int, default=4000, help="for throughput")
    parser.add_argument("--backlog", type=int, default=2000, help="jobs inside the chain at most")
    parser.add_argument("--rate", type=float, default=30, help="jobs a second, for latency")
    parser.add_argument("--seconds", type=float, default=10, help="of the steady rate")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=256, help="per stage, ours alone")
    parser.add_argument("--rounds", type=int, default=3, help="of all chains in turn")
    parser.add_argument("--folder", help="where data lies meanwhile (the system's temporary one)")
    return parser.parse_args()


if __name__ == "__main__":
    print(json.dumps(run(_arguments()), indent=2))
