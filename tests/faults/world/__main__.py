"""The command: `python -m tests.faults.world SCENARIO ... [--seconds N] [--seed S] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from tests.faults.world import brokers, clock, disk, lines, operator
from tests.faults.world.scenario import Scenario, endure

MODULES = (lines, disk, clock, brokers, operator)
SCENARIOS: Mapping[str, Scenario[Any]] = {
    name: each for module in MODULES for name, each in module.SCENARIOS.items()
}


def main() -> int:
    """Run and print; 0 only if nothing was lost, doubled, left unfinished or otherwise wrong."""
    told = "\n".join(f"  {name:<16} {each.says}" for name, each in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.world",
        description=f"The world around the relay breaks.\n\n{told}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="+", choices=SCENARIOS, metavar="SCENARIO")
    parser.add_argument("--seconds", type=float, help="how long it lasts; each has its own default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    asked = parser.parse_args()
    chosen = {name: SCENARIOS[name] for name in asked.scenario}
    if len({scenario.opens for scenario in chosen.values()}) > 1:
        parser.error("these scenarios happen to different houses: run them one by one")
    said = endure(chosen, asked.seconds, seed=asked.seed, quiet=asked.json)
    print(json.dumps(said, ensure_ascii=False, indent=None if asked.json else 2))
    return int(any(said[what] for what in ("lost", "duplicated", "unfinished", "wrong")))


if __name__ == "__main__":
    sys.exit(main())
