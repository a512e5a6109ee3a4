"""What benchmarks say alike: of the machine, of CPU time, of several rounds."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from infra.servers.process import descendants


def machine() -> dict[str, Any]:
    """Cores, system, Python, and how busy others kept it as the run ended."""
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "load": round(os.getloadavg()[0], 1),
    }


def cpu_of(pid: int) -> float:
    """Seconds of CPU that the process `pid` and those it started have used."""
    ticks = 0
    for each in (pid, *descendants(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(") ", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def spread(values: Iterable[float]) -> list[float]:
    """Least, median, most."""
    found = sorted(values)
    return [round(value, 2) for value in (found[0], median(found), found[-1])]
