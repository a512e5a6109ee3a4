"""`python -m benchmarks.doors`: jobs one after another, at rest between; prints one JSON document.

Every stage is a process, the models are stand-ins that take no time. Three waits of each job, all
on connections that are kept: from the request until it is accepted, from there until its stream
says that it is delivered, and for its state to be read once more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx

from benchmarks.machine import machine
from benchmarks.soak.load import recording
from ingest.pressure import FRESH
from tests.faults.house import Executed, house

_WARM = 5
"""Jobs that are not counted: connections are opened, caches filled."""
_REST = 1.1 * FRESH
"""Seconds between two jobs; a gateway that was asked a moment ago knows what waits."""

Spent = Callable[[], float]
"""Milliseconds since it was asked last."""


class _AtOnce(Executed):
    """A stage whose models take no time."""

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "benchmarks.doors.stage", self.stage]


async def waits(door: str, jobs: int) -> Sequence[Sequence[float]]:
    """Of each job the milliseconds until it is accepted, then delivered, then read."""
    found = []
    async with httpx.AsyncClient(base_url=door, timeout=60) as client:
        for n in range(_WARM + jobs):
            spent = _watch()
            sent = await client.post(
                "/v1/jobs", data={"text": f"第{n}句。"}, files={"recording": recording(n)}
            )
            accepted, job = spent(), sent.raise_for_status().json()["job_id"]
            delivered = await _delivered(client, job, spent)
            spent()
            (await client.get(f"/v1/jobs/{job}")).raise_for_status()
            found.append((accepted, delivered, spent()))
            await asyncio.sleep(_REST)
    return found[_WARM:]


async def _delivered(client: httpx.AsyncClient, job: str, spent: Spent) -> float:
    """What is spent when the stream says so; it is read to its end, or its line would be cut."""
    delivered = None
    async with client.stream("GET", f"/v1/jobs/{job}/events") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data:") and json.loads(line[5:]).get("state") == "delivered":
                delivered = spent()
    if delivered is None:
        raise RuntimeError("the stream ended before its job")
    return delivered


def _watch() -> Spent:
    """A clock that says how many milliseconds have passed since it was asked last."""
    last = time.perf_counter()

    def spent() -> float:
        nonlocal last
        before, last = last, time.perf_counter()
        return (last - before) * 1000

    return spent


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One run, whole."""
    with tempfile.TemporaryDirectory(prefix="voxrelay-doors-", dir=args.folder) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may be another user
        with house(args.log, Path(folder), _AtOnce, count=1) as relay:
            found = asyncio.run(waits(relay.doors[0], args.jobs))
    named = zip(("accepted", "delivered", "read"), zip(*found, strict=True), strict=True)
    tenths = {name: quantiles(each, n=10) for name, each in named}
    told = {
        name: {"p50_ms": round(each[4], 1), "p90_ms": round(each[8], 1)}
        for name, each in tenths.items()
    }
    return {"machine": machine(), "log": args.log, "jobs": args.jobs, **told}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doors", description=__doc__)
    parser.add_argument("--jobs", type=int, default=30)
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--folder", help="where data lies meanwhile (the system's temporary one)")
    parser.add_argument("--json", action="store_true", help="print the document on one line")
    asked = parser.parse_args()
    if asked.jobs < 2:
        parser.error("--jobs: of fewer than 2 there are no tenths")
    print(json.dumps(measure(asked), indent=None if asked.json else 2))


if __name__ == "__main__":
    main()
