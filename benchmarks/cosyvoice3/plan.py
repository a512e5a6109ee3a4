"""Everything there is to know of a GPU, in calls that fit ten minutes each.

    python -m benchmarks.cosyvoice3 --plan device parity parts --released --out found.jsonl

Phases run in the order given, each until its own time is up; every line is written as it is found,
with the device it was found on, so a run that is cut off keeps what it has. `--plan all` runs them
all. Without `--released` the same phases run small, on any CPU.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import torch

from benchmarks.cosyvoice3.measure import bandwidth, device_name, matmul_rate
from synth.cosyvoice3.device import trim

Line = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """What a phase is told: sizes, device, precision, and when it has to be done."""

    released: bool
    device: torch.device
    precision: str
    until: float
    requests: int = 10_000

    @property
    def left(self) -> float:
        """Seconds until it has to be done."""
        return self.until - time.perf_counter()


Phase = Callable[[Ask], Iterator[Line]]


def facts(ask: Ask) -> Iterator[Line]:
    """What the device can do: the rates that shares of a limit are shares of."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        rate = matmul_rate(ask.device, dtype)
        yield {"what": "matmul", "dtype": str(dtype), "tflops": round(rate / 1e12, 3)}
    yield {"what": "copy", "gb_per_second": round(bandwidth(ask.device) / 1e9, 2)}
    memory = None
    if ask.device.type == "cuda":
        memory = torch.cuda.get_device_properties(ask.device).total_memory >> 20
    yield {"what": "memory", "mb": memory, "torch": torch.__version__}


_PHASES = {
    "device": ("plan", "facts", 30),
    "parity": ("exact", "parity", 120),
    "parts": ("parts", "parts", 90),
    "throughput": ("engine_phases", "throughput", 300),
    "first": ("engine_phases", "first", 100),
    "profile": ("engine_phases", "profile", 200),
    "memory": ("engine_phases", "memory", 200),
    "determinism": ("exact", "determinism", 200),
    "hearing": ("ears", "hearing", 250),
    "relay": ("whole", "relay", 400),
}
NAMES = tuple(_PHASES)


def phases() -> Mapping[str, tuple[Phase, float]]:
    """Every phase by its name, and the seconds it may take at released sizes."""
    return {
        name: (partial(_phase, module, function), seconds)
        for name, (module, function, seconds) in _PHASES.items()
    }


def _phase(module: str, function: str, ask: Ask) -> Iterator[Line]:
    """Imported when its turn comes: the engine is measured where no relay can be installed."""
    yield from getattr(import_module(f"benchmarks.cosyvoice3.{module}"), function)(ask)


def run(
    names: Sequence[str],
    released: bool,
    device: torch.device,
    precision: str,
    out: TextIO,
    *,
    limit: float,
    requests: int,
) -> bool:
    """Run phases in order; False if one failed or found something wrong. Lines come as found."""
    known, begun, well = phases(), time.perf_counter(), True
    where = {"device": device_name(device), "precision": precision, "released": released}
    for name in [*known] if list(names) == ["all"] else names:
        phase, seconds = known[name]
        now = time.perf_counter()
        ask = Ask(released, device, precision, min(now + seconds, begun + limit), requests)
        if ask.left <= 0:
            _write(out, {"phase": name, **where, "skipped": "no time is left"})
            continue
        try:
            for line in phase(ask):
                well = well and line.get("ok", True)
                _write(out, {"phase": name, **where, **line})
        except Exception as err:  # noqa: BLE001 - whatever it is, it is told, and the rest is run
            well = False
            _write(out, {"phase": name, **where, "failed": f"{type(err).__name__}: {err}"})
        _write(out, {"phase": name, **where, "seconds": round(time.perf_counter() - now, 1)})
        gc.collect()
        trim(device)  # the next engine finds all memory free, as it would alone
    return well


def _write(out: TextIO, line: Line) -> None:
    out.write(json.dumps(line, ensure_ascii=False) + "\n")
    out.flush()


def read(path: Path) -> list[Line]:
    """The lines of a run."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
