"""`python -m benchmarks.tracing`: is a delivered sound known again, and no other taken for it?

Every sentence of `benchmarks.hearing` is harmed in every way of `harm` and compared with the
fingerprints of all of them. Prints one JSON document: of each harm the share of bits that differ
from its own sound and from the others, and the time of a comparison.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hearing.clips import clips
from benchmarks.machine import machine
from benchmarks.tracing.harm import HARMS, Harm, Samples
from moderation.hearing import SAMPLE_RATE
from relay.fingerprint import ALIKE, Asked, take


def main() -> None:
    """Make or find the clips, harm, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, help="folder to keep the clips in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        said = [clip.samples for clip in clips(given.clips or Path(folder))]
    kept = [take(samples, SAMPLE_RATE) for samples in said]
    seconds = sum(map(len, said)) / SAMPLE_RATE
    print(
        json.dumps(
            {
                "machine": machine(),
                "sounds": len(said),
                "seconds": round(seconds, 1),
                "characters a second": round(sum(map(len, kept)) / seconds),
                "alike below": ALIKE,
                "harms": {name: measured(harm, said, kept) for name, harm in HARMS.items()},
            },
            ensure_ascii=False,
        )
    )


def measured(harm: Harm, said: list[Samples], kept: list[str]) -> dict[str, Any]:
    """Share of differing bits after `harm`: own and other sounds; milliseconds a comparison."""
    asked = [Asked(*harm(samples, SAMPLE_RATE)) for samples in said]
    begun = time.perf_counter()
    errors = np.array([[each.like(fingerprint).errors for fingerprint in kept] for each in asked])
    spent = time.perf_counter() - begun
    own, others = errors.diagonal(), errors[~np.eye(len(said), dtype=bool)]
    return {
        "own median": round(float(np.median(own)), 3),
        "own most": round(float(own.max()), 3),
        "others least": round(float(others.min()), 3),
        "found": int((own < ALIKE).sum()),
        "taken for another": int((others < ALIKE).sum()),
        "ms a comparison": round(1000 * spent / errors.size, 3),
    }


if __name__ == "__main__":
    main()
