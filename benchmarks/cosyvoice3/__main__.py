"""Measure the engine at rising concurrency.

    python -m benchmarks.cosyvoice3                small networks, seconds, any CPU
    python -m benchmarks.cosyvoice3 --released     released sizes, random weights, one GPU

Outputs are forced to 4, 8 and 16 s, prompts are 5 s, text is 60 tokens; tokenizer and recordings
are left out, language model, flow, vocoder and the copy to memory are in. Prints one JSON document.
Levels are skipped once the time given is used up, and the document says which.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict

from benchmarks.cosyvoice3.measure import LEVELS, SMALL_LEVELS, Bench, Setup


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--released", action="store_true", help="released sizes")
    parser.add_argument("--device", default=None)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--slots", type=int, default=None)
    parser.add_argument("--memory-mb", type=int, default=None)
    parser.add_argument("--levels", type=int, nargs="+", default=None, help="concurrencies")
    parser.add_argument("--outputs", type=float, nargs="+", default=None, help="seconds")
    parser.add_argument("--limit", type=float, default=480.0, help="seconds for everything")
    given = parser.parse_args()
    levels = given.levels or (LEVELS if given.released else SMALL_LEVELS)
    outputs = given.outputs or ((4.0, 8.0, 16.0) if given.released else (0.4, 0.8, 1.6))
    started = time.perf_counter()
    setup = Setup(given.released, given.device, given.precision, given.slots, given.memory_mb)
    bench = Bench(setup, tuple(outputs))
    print(json.dumps({"setup": asdict(setup), **bench.run(levels, given.limit, started)}))


if __name__ == "__main__":
    main()
