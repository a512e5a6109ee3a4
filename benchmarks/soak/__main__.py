"""`python -m benchmarks.soak`: finds how much the relay can do, then has it do a part of that.

Every stage is a process, the models are stand-ins. Prints one JSON document; exits 0 only if
memory and open files stayed flat, the lag bounded, and every job was delivered once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.soak.load import Load, load_on
from benchmarks.soak.watch import FILES, Held, held, more, spent, trend
from infra.stages import StageProcess
from infra.topics import groups
from relay.log.open import open_log
from relay.log.port import Log
from tests.faults.house import Executed, House, house
from tests.sql import until

INSIDE = 64
"""Jobs inside the relay while its capacity is measured."""
BOUND_SECONDS = 10.0
"""The lag is bounded while the jobs inside are never more than come in so many seconds, ..."""
_EVENTS = 4
"""... and what is not in the view yet, never more than such jobs have events."""
_EMPTY_SECONDS = 300.0

Samples = list[tuple[float, int, int, Mapping[str, Held]]]
"""Seconds, jobs inside, records that are not in the view yet, and what each process holds."""


def soak(args: argparse.Namespace) -> dict[str, Any]:
    """One run, whole."""
    with tempfile.TemporaryDirectory(prefix="voxrelay-soak-", dir=args.folder) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may be another user
        with house(args.log, Path(folder), Executed, count=1) as relay:
            return asyncio.run(_run(relay, args))


async def _run(relay: House, args: argparse.Namespace) -> dict[str, Any]:
    log = open_log(relay.settings)
    try:
        async with load_on(relay.doors[0], log) as load:
            capacity = await load.full(args.capacity_seconds, INSIDE)
            _tell(f"capacity {capacity:.1f} jobs/s; {await _unseen(log)} records not in the view")
            await load.emptied(_EMPTY_SECONDS)
            await _seen(log)
            rate, before = capacity * args.load, (load.ended, _spent(relay))
            samples = await _steady(relay, load, log, rate, args)
            emptied = await load.emptied(_EMPTY_SECONDS)
            cost = _cost(before, (load.ended, _spent(relay)))
    finally:
        await log.close()
    said = {
        "machine": machine(),
        "log": args.log,
        "minutes": args.minutes,
        "capacity_per_second": round(capacity, 1),
        "rate_per_second": round(rate, 1),
        "jobs": {"sent": load.sent, "refused": load.refused, "delivered": load.delivered},
        "refused_for": dict(load.refusals),
        "ended_twice": load.twice,
        "cpu_ms_per_job": cost,
        **judged(samples, rate),
    }
    alive = all(stage.running for stage in relay.stages.values())
    once = emptied and not load.twice and load.delivered == load.sent
    return said | {"passed": alive and once and said["flat"] and said["lag"]["bounded"]}


async def _steady(
    relay: House, load: Load, log: Log, rate: float, args: argparse.Namespace
) -> Samples:
    samples: Samples = []
    start = time.monotonic()
    feeding = asyncio.create_task(load.steady(rate, args.minutes * 60))
    while not feeding.done():
        now = {name: _held(stage) for name, stage in relay.stages.items()}
        at, inside = time.monotonic() - start, load.inside
        samples.append((at, inside, await _unseen(log), now))
        await asyncio.wait([feeding], timeout=args.every)
    await feeding
    return samples


async def _unseen(log: Log) -> int:
    """Records that are not in the view: whoever asks for their jobs is told what was before."""
    return await log.lag("view", groups()["view"])


async def _seen(log: Log) -> None:
    """Return once everything is in the view; `TimeoutError` where it never is."""

    async def seen() -> bool:
        return not await _unseen(log)

    await until(seen, _EMPTY_SECONDS)


def _held(stage: StageProcess) -> Held:
    return held(stage.pid) if stage.running else Held(0.0, Counter())


def _spent(relay: House) -> dict[str, float]:
    """Seconds of CPU so far: of each process of the relay, and of whoever sends the jobs."""
    running = {name: spent(each.pid) for name, each in relay.all.items() if each.running}
    return running | {"load": time.process_time()}


def _cost(
    before: tuple[int, Mapping[str, float]], after: tuple[int, Mapping[str, float]]
) -> dict[str, float]:
    """Milliseconds of CPU that each took for a job between two moments."""
    jobs = max(1, after[0] - before[0])
    return {
        name: round((seconds - before[1][name]) * 1000 / jobs, 1)
        for name, seconds in after[1].items()
        if name in before[1]
    }


def judged(samples: Samples, rate: float) -> dict[str, Any]:
    """What the samples say."""
    seconds = [at for at, *_ in samples]
    processes = {
        name: {
            "megabytes": trend(seconds, [each[name].megabytes for *_, each in samples]),
            "files": trend(seconds, [float(each[name].files) for *_, each in samples], FILES),
        }
        for name in samples[0][-1]
    }
    inside = [inside for _, inside, _, _ in samples]
    unseen = [unseen for _, _, unseen, _ in samples]
    most = BOUND_SECONDS * rate
    lag = {
        "jobs_inside": trend(seconds, inside).parts,
        "most": max(inside),
        "not_in_view": trend(seconds, unseen).parts,
        "most_not_in_view": max(unseen),
        "bounded": max(inside) <= most and max(unseen) <= most * _EVENTS,
    }
    flat = all(found.flat for each in processes.values() for found in each.values())
    fifth = -(-len(samples) // 5)
    shown = {
        name: {what: asdict(found) for what, found in each.items()}
        | {
            "more_files": more(
                [now[name] for *_, now in samples[fifth : 2 * fifth]],
                [now[name] for *_, now in samples[-fifth:]],
            )
        }
        for name, each in processes.items()
    }
    return {"lag": lag, "processes": shown, "flat": flat}


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--load", type=float, default=0.8, help="of the capacity found first")
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--capacity-seconds", type=float, default=60, help="to find it")
    parser.add_argument("--every", type=float, default=5, help="seconds between two samples")
    parser.add_argument("--folder", help="where data lies meanwhile (the system's temporary one)")
    parser.add_argument("--json", action="store_true", help="print the document on one line")
    return parser.parse_args()


if __name__ == "__main__":
    asked = _arguments()
    found = soak(asked)
    print(json.dumps(found, indent=None if asked.json else 2))
    sys.exit(not found["passed"])
