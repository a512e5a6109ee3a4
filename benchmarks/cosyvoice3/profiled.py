"""Where the device's time goes: by kernel, and by the gaps between kernels.

    python -m benchmarks.cosyvoice3.profiled TRACE    the table of a trace that was kept

Reads the events of torch's profiler and refuses to know what ran.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from synth.cosyvoice3.device import settle

Line = dict[str, Any]

MOST = 25
"""Kernels that are named; the rest is one line."""
GAPS = (10, 100, 1000, 10_000)
"""Microseconds that gaps are sorted by."""
_ON_GPU = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
_ON_CPU = frozenset({"cpu_op"})


@dataclass(frozen=True)
class Span:
    """One thing the device did, in microseconds, and the stream it did it in."""

    name: str
    begin: float
    end: float
    lane: str = ""


def spans(trace: dict[str, Any]) -> list[Span]:
    """What the GPU did in a trace; of a trace without one, the outermost operations of the CPU."""
    events = [e for e in trace["traceEvents"] if e.get("ph") == "X"]
    on_gpu = [e for e in events if e.get("cat") in _ON_GPU]
    chosen = on_gpu or [e for e in events if e.get("cat") in _ON_CPU]
    found = [
        Span(e["name"], e["ts"], e["ts"] + e["dur"], str(e.get("args", {}).get("stream", "")))
        for e in chosen
    ]
    found.sort(key=lambda span: (span.begin, -span.end))
    return found if on_gpu else [*_outermost(found)]


def _outermost(found: Sequence[Span]) -> Iterator[Span]:
    end = float("-inf")
    for span in found:
        if span.begin >= end:
            end = span.end
            yield span


def summary(found: Sequence[Span]) -> Line:
    """Busy share, each lane's own, time by kernel, and gaps; lanes that overlap count once."""
    if not found:
        raise ValueError("the trace has nothing that the device did")
    busy, gaps = _covered(found)
    wall = max(span.end for span in found) - found[0].begin
    times, counts = Counter[str](), Counter(span.name for span in found)
    for span in found:
        times[span.name] += span.end - span.begin  # type: ignore[assignment]
    top = [
        {"kernel": name[:90], "ms": round(us / 1e3, 3), "calls": counts[name]}
        for name, us in times.most_common(MOST)
    ]
    rest = sum(us for _, us in times.most_common()[MOST:])
    alone = {lane: _covered([s for s in found if s.lane == lane])[0] for lane in _lanes(found)}
    return {
        "wall_ms": round(wall / 1e3, 3),
        "busy": round(busy / wall, 4) if wall else 0.0,
        "lanes": {lane: round(us / wall, 4) if wall else 0.0 for lane, us in alone.items()},
        "kernels": top,
        "others_ms": round(rest / 1e3, 3),
        "gaps_ms": {size: round(us / 1e3, 3) for size, us in sorted(gaps.items())},
    }


def _lanes(found: Sequence[Span]) -> list[str]:
    return sorted({span.lane for span in found})


def _covered(found: Sequence[Span]) -> tuple[float, Counter[str]]:
    """Microseconds in which anything ran, and those of the gaps by their size."""
    busy, gaps, end = 0.0, Counter[str](), found[0].begin
    for span in found:
        if span.begin > end:
            gaps[_size(span.begin - end)] += span.begin - end  # type: ignore[assignment]
        busy += max(0.0, span.end - max(end, span.begin))
        end = max(end, span.end)
    return busy, gaps


def _size(gap: float) -> str:
    above = [limit for limit in GAPS if gap >= limit]
    return f"from {above[-1]:>5} us" if above else f"below {GAPS[0]} us"


def table(line: Line) -> str:
    """A summary, for reading."""
    rows = [f"busy {line['busy']:.1%} of {line['wall_ms']:.1f} ms"]
    rows += [
        f"{share:>11.1%} of it in stream {lane or '-'}" for lane, share in line["lanes"].items()
    ]
    rows += [f"{k['ms']:>12.3f} ms {k['calls']:>8}  {k['kernel']}" for k in line["kernels"]]
    rows.append(f"{line['others_ms']:>12.3f} ms           others")
    rows += [f"{ms:>12.3f} ms           gaps {size}" for size, ms in line["gaps_ms"].items()]
    return "\n".join(rows)


def traced(device: torch.device, work: Callable[[], object]) -> list[Span]:
    """What the device did while `work` ran.

    On a GPU the host's operations are not traced: noting them would hold up their launches.
    """
    gpu = device.type == "cuda"
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CUDA if gpu else activity.CPU]) as profiler:
        work()
        settle(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return spans(json.loads(path.read_text("utf-8")))


if __name__ == "__main__":
    print(table(summary(spans(json.loads(Path(sys.argv[1]).read_text("utf-8"))))))
