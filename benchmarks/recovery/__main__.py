"""`python -m benchmarks.recovery`: from `kill -9` of a stage to its work going on.

Every stage is a process with the settings it has by default; only the models are stand-ins. Jobs
come in through the door meanwhile. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import machine
from benchmarks.recovery.watch import Flow, shared_out
from benchmarks.soak.load import load_on
from relay.log.open import open_log
from schemas.events import SpeechDelivered
from schemas.topics import topic_of
from tests.faults.house import Executed, House, house

STAGE = "delivery"
PARTITIONS = 4
SUPERVISOR_SECONDS = 0.2
"""What a supervisor waits before it starts a child again that had lived for long."""
_PATIENCE = 120.0

Kill = Callable[[], Awaitable[None]]


def run(args: argparse.Namespace) -> dict[str, Any]:
    """A relay, and all kills of it."""
    with tempfile.TemporaryDirectory(prefix="voxrelay-recovery-", dir=args.folder) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may be another user
        with house(args.log, folder, Executed, count=1) as relay:
            first = relay.stages[STAGE]
            second = Executed(
                f"{STAGE}-2", folder / "second", first.environment(), folder, relay.session
            )
            try:
                found = asyncio.run(_all(relay, second, args))
            finally:
                second.kill()
    return {"machine": machine(), "log": args.log, "stage": STAGE, **found}


async def _all(relay: House, second: Executed, args: argparse.Namespace) -> dict[str, Any]:
    first = relay.stages[STAGE]
    async with _flowing(relay, args.rate) as flow:

        async def again() -> None:
            first.kill()
            await asyncio.sleep(SUPERVISOR_SECONDS)
            first.launch()

        alone = []
        for _ in range(args.kills):
            await shared_out([first], PARTITIONS, _PATIENCE)
            alone.append(await _rests(flow, again))

        async def for_good() -> None:
            first.kill()

        beside = []
        for _ in range(args.kills):
            for member in (first, second):
                member.launch()
            await shared_out([first, second], PARTITIONS, _PATIENCE)
            beside.append(await _rests(flow, for_good))
    return {"started_again": _figures(alone), "taken_over": _figures(beside)}


@asynccontextmanager
async def _flowing(relay: House, rate: float) -> AsyncIterator[Flow]:
    """Jobs come in all the while; what the stage makes of them is watched."""
    log, flow = open_log(relay.settings), Flow(PARTITIONS)
    async with load_on(relay.doors[0], log) as load:
        watching = flow.watch(log, topic_of(SpeechDelivered), datetime.now(UTC))
        tasks = [asyncio.create_task(watching), asyncio.create_task(load.steady(rate, 1e9))]
        try:
            yield flow
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    await log.close()


async def _rests(flow: Flow, kill: Kill) -> float:
    """Seconds from the kill until every partition has had an event again."""
    flow.mark(datetime.now(UTC))
    await flow.goes_on(_PATIENCE)  # nothing is left of the last kill
    killed = datetime.now(UTC)
    flow.mark(killed)
    await kill()
    took = (await flow.goes_on(_PATIENCE) - killed).total_seconds()
    print(f"{took:.2f} s", file=sys.stderr, flush=True)
    return took


def _figures(took: list[float]) -> dict[str, Any]:
    return {
        "kills": len(took),
        "median_s": round(median(took), 2),
        "most_s": round(max(took), 2),
        "all_s": [round(each, 2) for each in took],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--kills", type=int, default=5, help="of each kind")
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--rate", type=float, default=4, help="jobs a second that come in")
    parser.add_argument("--folder", help="where data lies meanwhile (the system's temporary one)")
    parser.add_argument("--json", action="store_true", help="print the document on one line")
    return parser.parse_args()


if __name__ == "__main__":
    asked = _arguments()
    print(json.dumps(run(asked), indent=None if asked.json else 2))
