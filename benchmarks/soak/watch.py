"""What processes hold, looked at again and again, and whether it grows.

Knows /proc and what counts as flat. Refuses to know what the processes do.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, median

from infra.servers.process import descendants

FLAT = 0.05
"""What the fitted line may rise by over the time looked at, as a share of the median ..."""
MEGABYTES = 2.0
FILES = 12.0
"""... or by this much, where that is more. A process has pools of lines to its databases, which
open another, two files, in the first moment that is busier than any before: at most four that read
the log and five to SQL. A leak at thousands of jobs is more than that."""
WARM_UP = 0.2
"""The share of the samples at the start that is not judged: caches fill."""
_PARTS = 5


@dataclass(frozen=True, slots=True)
class Held:
    """By a process and its children together, at one moment."""

    megabytes: float
    kinds: Counter[str]
    """Open files: sockets, pipes, and files by their names."""

    @property
    def files(self) -> int:
        return self.kinds.total()


def held(pid: int) -> Held:
    """What `pid` and its descendants hold now; what ends meanwhile holds nothing."""
    pages, kinds = 0, Counter[str]()
    for each in (pid, *descendants(pid)):
        try:
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
            opened = os.listdir(f"/proc/{each}/fd")
        except OSError:
            continue
        kinds.update(_kind(f"/proc/{each}/fd/{number}") for number in opened)
    return Held(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, kinds)


def spent(pid: int) -> float:
    """Seconds of CPU that `pid` and its descendants, those that ended too, have taken so far."""
    ticks = 0
    for each in (pid, *descendants(pid)):
        try:
            said = Path(f"/proc/{each}/stat").read_text()
        except OSError:
            continue
        fields = said.rpartition(")")[2].split()  # its name, before, may hold anything
        ticks += sum(map(int, fields[11:15]))  # its own, and of children it has waited for
    return ticks / os.sysconf("SC_CLK_TCK")


def _kind(link: str) -> str:
    try:
        target = os.readlink(link)
    except OSError:
        return "closed meanwhile"
    return Path(target).name if target.startswith("/") else target.partition(":")[0]


def more(early: Sequence[Held], late: Sequence[Held]) -> dict[str, float]:
    """Of which kinds of files there are more in the end, by the median, and how many."""
    kinds = set[str]().union(*(each.kinds for each in (*early, *late)))
    grown = {
        kind: median(each.kinds[kind] for each in late) - median(each.kinds[kind] for each in early)
        for kind in sorted(kinds)
    }
    return {kind: count for kind, count in grown.items() if count > 0}


@dataclass(frozen=True, slots=True)
class Trend:
    """Samples of one thing as a line; `parts` are medians of the run's fifths, warm-up and all."""

    parts: Sequence[float]
    per_hour: float
    grown: float
    """What the line rises by over the samples that are judged."""
    flat: bool


def trend(seconds: Sequence[float], values: Sequence[float], least: float = MEGABYTES) -> Trend:
    """The line through what comes after the warm-up; at least two samples have to."""
    start = int(len(values) * WARM_UP)
    times, judged = seconds[start:], values[start:]
    slope = linear_regression(times, judged).slope
    grown = slope * (times[-1] - times[0])
    size = -(-len(values) // _PARTS)
    parts = [round(median(values[n : n + size]), 1) for n in range(0, len(values), size)]
    flat = grown <= max(FLAT * median(judged), least)
    return Trend(parts, round(slope * 3600, 2), round(grown, 2), flat)
