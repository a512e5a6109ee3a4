"""What processes hold, looked at again and again, and whether it grows.

Knows /proc and what counts as flat. Refuses to know what the processes do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, median

from infra.servers.process import descendants

FLAT = 0.05
"""What the fitted line may rise by over the time looked at, as a share of the median ..."""
_LEAST = 2.0
"""... or by this much, where that is more: two megabytes, or two files."""
WARM_UP = 0.2
"""The share of the samples at the start that is not judged: caches fill."""
_PARTS = 5


@dataclass(frozen=True, slots=True)
class Held:
    """By a process and its children together, at one moment."""

    megabytes: float
    files: int


def held(pid: int) -> Held:
    """What `pid` and its descendants hold now; what ends meanwhile holds nothing."""
    pages, files = 0, 0
    for each in (pid, *descendants(pid)):
        try:
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
            files += len(os.listdir(f"/proc/{each}/fd"))
        except OSError:
            continue
    return Held(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, files)


@dataclass(frozen=True, slots=True)
class Trend:
    """Samples of one thing as a line; `parts` are medians of the run's fifths, warm-up and all."""

    parts: Sequence[float]
    per_hour: float
    grown: float
    """What the line rises by over the samples that are judged."""
    flat: bool


def trend(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """The line through what comes after the warm-up; at least two samples have to."""
    start = int(len(values) * WARM_UP)
    times, judged = seconds[start:], values[start:]
    slope = linear_regression(times, judged).slope
    grown = slope * (times[-1] - times[0])
    size = -(-len(values) // _PARTS)
    parts = [round(median(values[n : n + size]), 1) for n in range(0, len(values), size)]
    flat = grown <= max(FLAT * median(judged), _LEAST)
    return Trend(parts, round(slope * 3600, 2), round(grown, 2), flat)
