"""`python -m benchmarks.hearing`: our ear against a loop of `whisper.transcribe`, same clips.

Both run in this process on the same model and threads, turn by turn, first with the language given
and then with it detected. Prints one JSON document; wall and CPU seconds are told apart because
the machine may not be ours alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.hearing.clips import Clip, clips
from benchmarks.hearing.error import rates
from moderation import weights
from moderation.whisper import Whisper

Hear = Callable[[list[Clip], bool], list[str]]


def loop(model: Any, device: str) -> Hear:
    """One clip after another through `transcribe`, its settings untouched."""

    def hear(said: list[Clip], given: bool) -> list[str]:
        return [
            model.transcribe(
                clip.samples, language=clip.language if given else None, fp16=device == "cuda"
            )["text"]
            for clip in said
        ]

    return hear


def batched(ear: Whisper) -> Hear:
    """All clips asked for at once, as prompts that wait in a topic are."""

    def hear(said: list[Clip], given: bool) -> list[str]:
        async def all_of_them() -> list[str]:
            calls = (ear.hear(c.samples, c.language if given else None) for c in said)
            return [hearing.text for hearing in await asyncio.gather(*calls)]

        return asyncio.run(all_of_them())

    return hear


def timed(hear: Hear, said: list[Clip], given: bool) -> tuple[float, float, list[str]]:
    """Wall seconds, CPU seconds of this process, and what was heard."""
    wall, cpu = time.perf_counter(), time.process_time()
    heard = hear(said, given)
    return time.perf_counter() - wall, time.process_time() - cpu, heard


def compare(ears: dict[str, Hear], said: list[Clip], given: bool, rounds: int) -> dict[str, Any]:
    """Each ear's best round, and how many times faster the second is than the first."""
    runs: dict[str, list[tuple[float, float, list[str]]]] = {name: [] for name in ears}
    for _ in range(rounds):
        for name, hear in ears.items():
            runs[name].append(timed(hear, said, given))
            wall, cpu, _heard = runs[name][-1]
            print(f"given={given} {name}: {wall:.1f} s, {cpu:.1f} s of CPU", file=sys.stderr)
    result: dict[str, Any] = {}
    for name, tries in runs.items():
        wall, cpu = min(t[0] for t in tries), min(t[1] for t in tries)
        result[name] = {
            "clips_per_second": round(len(said) / wall, 3),
            "cpu_seconds_per_clip": round(cpu / len(said), 3),
            "error_rate": rates(zip((clip.text for clip in said), tries[-1][2], strict=True)),
        }
    base, ours = result.values()
    result["times"] = round(ours["clips_per_second"] / base["clips_per_second"], 2)
    result["times_by_cpu"] = round(base["cpu_seconds_per_clip"] / ours["cpu_seconds_per_clip"], 2)
    return result


def main() -> None:
    """Make the clips, run both ears, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="base")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clips", type=Path, help="folder that keeps the clips between runs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.clips or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        said = clips(folder)
    torch.set_num_threads(args.threads)
    loaded = weights.load(args.model, device=args.device)
    ear = Whisper(loaded, batch=args.batch)
    ears = {"transcribe_loop": loop(loaded.model, args.device), "ours": batched(ear)}
    for hear in ears.values():
        hear(said[:2], True)
    document = {
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load": [round(value, 1) for value in os.getloadavg()],
        "settings": {key: str(value) for key, value in vars(args).items()},
        "clips": len(said),
        "seconds_of_sound": round(sum(len(clip.samples) for clip in said) / 16_000, 1),
        "language_given": compare(ears, said, True, args.rounds),
        "language_detected": compare(ears, said, False, args.rounds),
    }
    asyncio.run(ear.close())
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
