"""`python -m benchmarks.replay`: judged again, against decoded only, on one log; and memory.

Prints one JSON document. `--jobs` is for the speed (two events each), `--stream` for the memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from audit.journal import open_journal
from audit.reading import Eyes
from audit.rejudge import Tally
from audit.replay import Replay, Scope
from benchmarks.pipeline.jobs import BenchKeys
from benchmarks.replay.traffic import APPROVED, UPLOADED, Objects, Stream, jobs
from moderation.policy import Policy, load_policy
from relay.log.sqlite import SqliteLog
from schemas.topics import TOPICS

_SOURCE = "bench"
_BATCH = 500


async def _filled(folder: Path, count: int, policy: Policy, keys: BenchKeys) -> SqliteLog:
    log = SqliteLog(folder / "log.db")
    await log.apply({topic.name: 4 for topic in TOPICS}, {}, [_SOURCE])
    made = jobs(count, policy, keys)
    async with log.source(_SOURCE) as source:
        while batch := list(islice(made, _BATCH)):
            messages = [m for each in batch for m in (each.uploaded, each.approved)]
            await source.append(messages, source.position + 1)
    return log


async def _decoded(log: Any, keys: BenchKeys) -> int:
    """The raw consumer: every event is read, opened and validated, and nothing else."""
    eyes, count = Eyes(keys), 0
    async for record in log.read([UPLOADED, APPROVED]):
        assert (await eyes.see(record)).event is not None
        count += 1
    return count


async def _judged(
    log: Any, policy: Policy, keys: BenchKeys, state: Path, tell: Callable[[Tally], None]
) -> Tally:
    spine: Any = SimpleNamespace(log=log, keys=keys, store=Objects(policy))

    async def nothing(*_: object) -> Any:
        raise AssertionError("everything was heard")

    with open_journal(state, {}) as journal:
        replay = Replay(spine, Scope(), journal, policy=policy, measure=nothing)
        return await replay.run(tell)


async def _speed(args: argparse.Namespace, policy: Policy, keys: BenchKeys) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        log = await _filled(Path(folder), args.jobs, policy, keys)
        rounds = []
        for n in range(args.rounds):
            raw = await _timed(lambda: _decoded(log, keys))
            state = Path(folder) / f"state-{n}"
            again = await _timed(
                lambda state=state: _judged(log, policy, keys, state, lambda _: None)  # type: ignore[misc]
            )
            assert raw[2] == 2 * args.jobs == 2 * again[2].judged
            rounds.append(
                {
                    "raw_events_per_second": round(raw[2] / raw[0]),
                    "replay_events_per_second": round(raw[2] / again[0]),
                    "ratio": round(raw[0] / again[0], 3),
                    "ratio_by_cpu": round(raw[1] / again[1], 3),
                }
            )
        await log.close()
        return {"jobs": args.jobs, "rounds": rounds}


async def _timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = await work()
    return time.perf_counter() - wall, time.process_time() - cpu, found


async def _memory(args: argparse.Namespace, policy: Policy, keys: BenchKeys) -> dict[str, Any]:
    """Resident megabytes at ten places along a stream of prompts and verdicts."""
    seen: dict[int, int] = {}
    step = max(args.stream // 10, 1)

    def tell(tally: Tally) -> None:
        place = tally.judged // step
        if place not in seen:
            seen[place] = _resident()
            print(f"{tally.judged}: {seen[place]} MB", file=sys.stderr)

    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        stream = Stream(args.stream, policy, keys)
        tally = await _judged(stream, policy, keys, Path(folder) / "state", tell)
        size = _bytes_in(Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "events": 2 * tally.judged,
        "resident_mb": list(seen.values()),
        "peak_mb": peak,
        "state_file_mb": size // 1_000_000,
    }


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000


async def _all(args: argparse.Namespace) -> dict[str, Any]:
    policy, keys = load_policy(), BenchKeys()
    machine = {"cores": os.cpu_count(), "system": platform.platform()}
    found: dict[str, Any] = {"machine": machine, "options": vars(args)}
    if args.jobs:
        found["speed"] = await _speed(args, policy, keys)
    if args.stream:
        found["memory"] = await _memory(args, policy, keys)
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--jobs", type=int, default=5_000, help="for the speed")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stream", type=int, default=0, help="jobs, for the memory")
    parser.add_argument("--folder", help="where data lies meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_all(_arguments())), indent=2))
