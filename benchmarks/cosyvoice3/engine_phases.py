"""The phases of the plan that are about the engine alone.

Knows what each is to find out, and stops a phase where its time is up. Refuses to know how it is
run and kept.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.cosyvoice3.limits import flops_per_second
from benchmarks.cosyvoice3.measure import (
    LEVELS,
    SMALL_LEVELS,
    Bench,
    Setup,
    matmul_rate,
    peak_memory,
    random_request,
    reset_memory,
)
from benchmarks.cosyvoice3.plan import Ask, Line
from synth.cosyvoice3 import verify
from synth.cosyvoice3.checkpoint import Precision
from synth.cosyvoice3.device import trim

GOLDEN = Path(__file__).parents[2] / "tests" / "cosyvoice3" / "golden"
PRECISIONS = ("float32", "bfloat16", "float16")
OUTPUTS, SMALL_OUTPUTS = (4.0, 8.0, 16.0), (0.4,)


def setup(ask: Ask, **more: object) -> Setup:
    """The engine of a phase; on a GPU with a slot for every stream of the highest level."""
    slots = 256 if ask.device.type == "cuda" else 4
    plain = Setup(ask.released, str(ask.device), ask.precision, slots)
    return replace(plain, **more)  # type: ignore[arg-type]


def levels(ask: Ask) -> tuple[int, ...]:
    """Streams at once, rising."""
    return LEVELS if ask.released else SMALL_LEVELS


def parity(ask: Ask) -> Iterator[Line]:
    """The golden vectors on this device, in every precision that it is quick in."""
    for precision in PRECISIONS if ask.device.type == "cuda" else PRECISIONS[:2]:
        errors = verify.verify(GOLDEN, verify.Where(ask.device, Precision(precision)))
        worst = {name: float(f"{error:.3g}") for name, error in errors.items()}
        ok = verify.within(errors, precision)
        limit = verify.RELATIVE[precision]
        yield {"in": precision, "ok": ok, "tolerance": limit, "errors": worst}


def throughput(ask: Ask) -> Iterator[Line]:
    """Audio seconds per second at rising concurrency, for each length of output."""
    rate = matmul_rate(ask.device, Precision(ask.precision).dtype)
    lengths = OUTPUTS if ask.released else SMALL_OUTPUTS
    bench = Bench(setup(ask), lengths)
    bench.level(1, stream=False)
    # The longest levels last: what is cut off then is what takes longest.
    for level in levels(ask):
        for seconds in sorted(lengths, key=lambda each: each != 8.0):
            if ask.left <= 0:
                yield {"streams": level, "output": seconds, "skipped": "no time is left"}
                continue
            bench.outputs = (seconds,)
            found = bench.level(level, stream=False)
            share = found["audio_seconds_per_second"] * flops_per_second(ask.released, seconds)
            yield {
                "streams": level,
                "output": seconds,
                **found,
                "share_of_matmul_rate": float(f"{share / rate:.3g}"),
            }


def first(ask: Ask) -> Iterator[Line]:
    """The first chunk at one stream and at many, and how fast one stream runs."""
    bench = Bench(setup(ask), (8.0,) if ask.released else SMALL_OUTPUTS)
    for level in (1, 64) if ask.released else (1, 2):
        for _ in range(2):  # the first round records steps and takes memory
            found = bench.level(level, stream=True)
        yield {"streams": level, **found}
    alone = bench.level(1, stream=False)
    yield {"what": "one stream", "real_time_factor": 1 / alone["audio_seconds_per_second"]}


def memory(ask: Ask) -> Iterator[Line]:
    """The peak at the highest level, and what many requests leave behind."""
    reset_memory(ask.device)
    bench = Bench(setup(ask), (8.0,) if ask.released else SMALL_OUTPUTS)
    most = levels(ask)[-1]
    found = bench.level(most, stream=False, rounds=1)
    yield {"streams": most, **found, "peak_mb": peak_memory(ask.device) >> 20}
    del bench
    gc.collect()
    trim(ask.device)
    yield from _growth(ask)


def _growth(ask: Ask) -> Iterator[Line]:
    """Small networks, short speech: what counts is how many requests there are."""
    bench = Bench(setup(ask, released=False), (0.2, 0.4))
    step = max(1, ask.requests // 10)
    for done in range(0, ask.requests, step):
        if ask.left <= 0:
            yield {"what": "growth", "requests": done, "skipped": "no time is left"}
            return
        reset_memory(ask.device)
        bench.level(step, stream=False, rounds=1)
        held = torch.cuda.memory_reserved(ask.device) if ask.device.type == "cuda" else 0
        memory_mb = peak_memory(ask.device) >> 20
        yield {
            "what": "growth",
            "requests": done + step,
            "peak_mb": memory_mb,
            "reserved_mb": held >> 20,
            "held": bench.core.held,
        }


def determinism(ask: Ask) -> Iterator[Line]:
    """Does a request say the same tokens in any company, and what do fixed shapes cost?"""
    crowds = (1, 8, 64) if ask.released else (1, 2, 4)
    for precision in PRECISIONS[:2]:
        if ask.left <= 0:
            yield {"in": precision, "skipped": "no time is left"}
            return
        bench = Bench(setup(ask, precision=precision), (4.0,) if ask.released else SMALL_OUTPUTS)
        said = [_tokens(bench, crowd) for crowd in crowds]
        same = [sum(a == b for a, b in zip(said[0], other, strict=True)) for other in said]
        total = len(said[0])
        yield {"in": precision, "tokens": total, "same": dict(zip(crowds, same, strict=True))}
        del bench
        trim(ask.device)
    seconds = {}
    for fixed in (False, True):
        bench = Bench(setup(ask, deterministic=fixed, slots=crowds[-1]), SMALL_OUTPUTS)
        bench.level(1, stream=False)
        found = bench.level(crowds[1], stream=False, rounds=1)
        seconds[fixed] = found["wall"]
        yield {"deterministic": fixed, "streams": crowds[1], **found}
        del bench
        trim(ask.device)
    yield {"what": "deterministic costs", "times": round(seconds[True] / seconds[False], 2)}


def _tokens(bench: Bench, crowd: int) -> list[int]:
    """What request 0 says among `crowd - 1` others."""
    core, tokens = bench.core, int(bench.outputs[0] * 25)
    said: dict[int, list[int]] = {}
    for index in range(crowd):
        request, prepared = random_request(index, tokens, stream=False)
        core.begin(1_000_000 + index, request, prepared, lambda item: None)
    while core.step():
        for piece in core.scheduler.pieces:
            said[piece.utterance] = piece.said
    return said[1_000_000]
