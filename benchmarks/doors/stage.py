"""A stage process whose stand-in models take no time: `python -m benchmarks.doors.stage NAME`."""

from __future__ import annotations

import sys

from tests.faults import stage


def _at_once(most: float) -> float:
    return 0.0


if __name__ == "__main__":
    stage.a_while = _at_once
    stage.main(sys.argv[1])
