"""The command: `python -m tests.hostile --uploads N --seed S [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.hostile.handmade import handmade
from tests.hostile.sender import DOORS, Upload, drawn
from tests.hostile.uploads import Report, Sent, bombard


def barrage(uploads: int, seed: int) -> Iterator[Sent]:
    """All that were made by hand, among `uploads` that were drawn."""
    made = [
        (Upload(name, make(), DOORS[n % len(DOORS)]), codes)
        for n, (name, (make, codes)) in enumerate(handmade().items())
    ]
    every = max(1, uploads // (len(made) + 1))
    for n in range(uploads):
        yield drawn(seed, n), None
        if n % every == 0 and made:
            yield made.pop()
    yield from made


def fire(uploads: int, seed: int) -> Report:
    """One run, whole."""
    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as folder:
        return bombard(Path(folder), barrage(uploads, seed), uploads + len(handmade()))


def main() -> int:
    """Run and print; 0 only if nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    asked = parser.parse_args()
    said = fire(asked.uploads, asked.seed)
    print(json.dumps(asdict(said), ensure_ascii=False, indent=None if asked.json else 2))
    return int(bool(said.wrong))


if __name__ == "__main__":
    sys.exit(main())
