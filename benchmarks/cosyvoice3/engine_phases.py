"""The phases of the plan that ask how fast the engine alone is, and in how much memory.

Knows what each is to find out, and stops a phase where its time is up. Refuses to know how it is
run and kept.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from benchmarks.cosyvoice3 import profiled
from benchmarks.cosyvoice3.limits import flops_per_second
from benchmarks.cosyvoice3.measure import (
    LEVELS,
    SMALL_LEVELS,
    Bench,
    Crowd,
    Setup,
    host_memory,
    matmul_rate,
)
from benchmarks.cosyvoice3.plan import Ask, Line
from synth.cosyvoice3.checkpoint import Precision
from synth.cosyvoice3.device import trim

OUTPUTS, SMALL_OUTPUTS = (8.0, 4.0, 16.0), (0.4,)
"""The first is the one that aims are stated for."""
TRACED = 1.0
"""Seconds of a trace: more of them would be hundreds of megabytes."""
SHORT = tuple(0.2 * n for n in range(1, 11))


def setup(ask: Ask, **more: object) -> Setup:
    """The engine of a phase; on a GPU with a slot for every stream of the highest level."""
    slots = 256 if ask.device.type == "cuda" else 4
    plain = Setup(ask.released, str(ask.device), ask.precision, slots)
    return replace(plain, **more)  # type: ignore[arg-type]


def levels(ask: Ask) -> tuple[int, ...]:
    """Streams at once, rising."""
    return LEVELS if ask.released else SMALL_LEVELS


def throughput(ask: Ask) -> Iterator[Line]:
    """Audio seconds per second at rising concurrency: outputs of 8 s, then shorter and longer."""
    rate = matmul_rate(ask.device, Precision(ask.precision).dtype)
    bench = Bench(setup(ask), ())
    for seconds in OUTPUTS if ask.released else SMALL_OUTPUTS:
        for level in levels(ask):
            asked = {"streams": level, "output": seconds}
            if ask.left <= 0:
                yield {**asked, "skipped": "no time is left"}
                continue
            bench.outputs = (seconds,)
            found = bench.warmed(level, stream=False)
            share = found["audio_seconds_per_second"] * flops_per_second(ask.released, seconds)
            yield {**asked, **found, "share_of_matmul_rate": float(f"{share / rate:.3g}")}


def first(ask: Ask) -> Iterator[Line]:
    """The first chunk at one stream and at many, and how fast one stream runs."""
    bench = Bench(setup(ask), OUTPUTS[:1] if ask.released else SMALL_OUTPUTS)
    for level, rounds in ((1, 10), (64, 2)) if ask.released else ((1, 2), (2, 2)):
        yield {"streams": level, **bench.warmed(level, stream=True, rounds=rounds)}
    alone = bench.warmed(1, stream=False, rounds=4)
    rate = round(1 / alone["audio_seconds_per_second"], 4)
    yield {"what": "one stream", "real_time_factor": rate}


def profile(ask: Ask) -> Iterator[Line]:
    """A second of a full engine, and of one with a single stream."""
    bench = Bench(setup(ask), OUTPUTS[:1] if ask.released else SMALL_OUTPUTS)
    for level in (levels(ask)[-1], 1):
        bench.level(level, stream=False)
        found = profiled.summary(_traced(bench, level))
        print(profiled.table(found), file=sys.stderr)
        yield {"streams": level, **found}
        if ask.left <= 0:
            return


def _traced(bench: Bench, level: int) -> list[profiled.Span]:
    """What the device did while `level` requests were under way, each at another point."""
    crowd = Crowd(bench, level, stream=False, rounds=4)
    while crowd.ended < level and crowd.step():
        pass  # the first of all begin as one: the language model's part, then the flow's

    def some() -> None:
        end = time.perf_counter() + TRACED
        while time.perf_counter() < end and crowd.ended < 3 * level and crowd.step():
            pass

    found = profiled.traced(bench.device, some)
    crowd.finish()
    return found


def memory(ask: Ask) -> Iterator[Line]:
    """The peak at the highest level, and what many requests leave behind."""
    bench = Bench(setup(ask), OUTPUTS[:1] if ask.released else SMALL_OUTPUTS)
    most = levels(ask)[-1]
    found = bench.level(most, stream=False)
    yield {"streams": most, **found, "taken_mb": _taken(ask.device), "host_mb": _host_mb()}
    del bench
    gc.collect()
    trim(ask.device)
    yield from _growth(ask)


def _growth(ask: Ask) -> Iterator[Line]:
    """Small networks, short speech of many lengths: what counts is how many requests there are."""
    bench = Bench(setup(ask, released=False), SHORT)
    step = max(1, ask.requests // 10)
    for done in range(0, ask.requests, step):
        if ask.left <= 0:
            yield {"what": "growth", "requests": done, "skipped": "no time is left"}
            return
        found = bench.level(step, stream=False, rounds=1)
        yield {
            "what": "growth",
            "requests": done + step,
            "memory_mb": found["memory_mb"],
            "host_mb": _host_mb(),
            "held": bench.core.held,
        }


def _taken(device: torch.device) -> int | None:
    """MiB of the GPU that nobody else can have, what CUDA takes for itself and all."""
    if device.type != "cuda":
        return None
    free, whole = torch.cuda.mem_get_info(device)
    return (whole - free) >> 20


def _host_mb() -> int:
    return host_memory() >> 20
