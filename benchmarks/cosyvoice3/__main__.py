"""Measure the engine at rising concurrency, or run a plan of phases over everything.

    python -m benchmarks.cosyvoice3                small networks, seconds, any CPU
    python -m benchmarks.cosyvoice3 --released     released sizes, random weights, one GPU
    python -m benchmarks.cosyvoice3 --plan all     every phase of `plan`, small; see there

Outputs are forced to 4, 8 and 16 s, prompts are 5 s, text is 60 tokens; tokenizer and recordings
are left out, language model, flow, vocoder and the copy to memory are in. Prints one JSON document;
a plan prints a line as each thing is found. Levels and phases are skipped once the time given is
used up, and the output says which.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.cosyvoice3 import plan
from benchmarks.cosyvoice3.measure import LEVELS, SMALL_LEVELS, Bench, Setup
from synth.cosyvoice3 import Settings


def main() -> None:
    """Parse, run, print."""
    given = _arguments()
    if given.plan:
        sys.exit(0 if _planned(given) else 1)
    levels = given.levels or (LEVELS if given.released else SMALL_LEVELS)
    outputs = given.outputs or ((4.0, 8.0, 16.0) if given.released else (0.4, 0.8, 1.6))
    started = time.perf_counter()
    setup = Setup(given.released, given.device, given.precision, given.slots, given.memory_mb)
    bench = Bench(setup, tuple(outputs))
    print(json.dumps({"setup": asdict(setup), **bench.run(levels, given.limit, started)}))


def _planned(given: argparse.Namespace) -> bool:
    device = Settings(device=given.device).torch_device()
    out = given.out.open("a", encoding="utf-8") if given.out else sys.stdout
    return plan.run(
        given.plan,
        given.released,
        device,
        given.precision,
        out,
        limit=given.limit,
        requests=given.requests,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--released", action="store_true", help="released sizes")
    parser.add_argument("--device", default=None)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--slots", type=int, default=None)
    parser.add_argument("--memory-mb", type=int, default=None)
    parser.add_argument("--levels", type=int, nargs="+", default=None, help="concurrencies")
    parser.add_argument("--outputs", type=float, nargs="+", default=None, help="seconds")
    parser.add_argument("--limit", type=float, default=480.0, help="seconds for everything")
    parser.add_argument("--plan", nargs="+", choices=["all", *plan.NAMES], help="phases to run")
    parser.add_argument("--out", type=Path, default=None, help="file that a plan adds lines to")
    parser.add_argument("--requests", type=int, default=10_000, help="of the phase `memory`")
    return parser.parse_args()


if __name__ == "__main__":
    main()
