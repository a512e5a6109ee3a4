"""The command: `python -m tests.faults --kills N --seed S --log kafka|sqlite [--json]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.faults.checks import check
from tests.faults.driver import drive
from tests.faults.house import house
from tests.faults.plan import plan


def fire(log: str, kills: int, seed: int, *, quiet: bool = True) -> dict[str, Any]:
    """One run, whole; what is wrong stands under `wrong`, in words."""
    begun = time.monotonic()

    def tell(what: str) -> None:
        if not quiet:
            print(f"{time.monotonic() - begun:7.1f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may be another user
        with house(log, Path(folder)) as hurt:
            faults = list(plan(seed, kills, list(hurt.servers)))
            run = asyncio.run(drive(hurt, faults, seed, tell))
            accepted = set(run.accepted.values())
            found = asyncio.run(check(hurt.settings, accepted))
            said = {} if found.clean and not run.unfinished else _last_words(hurt.stages)
    return {
        "kills": run.kills,
        "jobs": len(accepted),
        "lost": len(found.lost - run.unfinished),
        "duplicated": len(found.duplicated),
        "unfinished": len(run.unfinished),
        "seconds": round(time.monotonic() - begun, 1),
        "wrong": found.wrong,
        **({"said": said} if said else {}),
    }


def _last_words(stages: Any) -> dict[str, str]:
    return {name: stage.log_tail(40) for name, stage in stages.items()}


def main() -> int:
    """Run and print; 0 only if nothing was lost, doubled, left unfinished or otherwise wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    asked = parser.parse_args()
    said = fire(asked.log, asked.kills, asked.seed, quiet=asked.json)
    print(json.dumps(said, ensure_ascii=False, indent=None if asked.json else 2))
    return int(any(said[what] for what in ("lost", "duplicated", "unfinished", "wrong")))


if __name__ == "__main__":
    sys.exit(main())
