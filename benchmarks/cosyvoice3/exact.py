"""The phases of the plan that ask whether it is right, before anybody asks how fast.

Golden vectors, the sound of the engine as a whole beside that of a CPU, and the same tokens in any
company.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.cosyvoice3.engine_phases import SMALL_OUTPUTS, setup
from benchmarks.cosyvoice3.measure import Bench, Setup, random_request
from benchmarks.cosyvoice3.plan import Ask, Line
from synth.cosyvoice3 import verify
from synth.cosyvoice3.checkpoint import Precision
from synth.cosyvoice3.device import trim
from synth.cosyvoice3.dims import TOKEN_RATE
from synth.cosyvoice3.runner import Sound

GOLDEN = Path(__file__).parents[2] / "tests" / "cosyvoice3" / "golden"
PRECISIONS = ("float32", "bfloat16", "float16")
REQUESTS = 16
"""Of the engine that is compared with a CPU's: every shape of a step comes often enough there to
be recorded and replayed."""
SOUND = 0.01
"""What two devices may differ by, of full scale 1. One token that differs is far beyond it."""


def parity(ask: Ask) -> Iterator[Line]:
    """The golden vectors on this device, in every precision that it is quick in; then the whole."""
    for precision in PRECISIONS if ask.device.type == "cuda" else PRECISIONS[:2]:
        errors = verify.verify(GOLDEN, verify.Where(ask.device, Precision(precision)))
        worst = {name: float(f"{error:.3g}") for name, error in errors.items()}
        ok = verify.within(errors, precision)
        limit = verify.RELATIVE[precision]
        yield {"in": precision, "ok": ok, "tolerance": limit, "errors": worst}
    yield _as_alone_on_a_cpu(ask)


def _as_alone_on_a_cpu(ask: Ask) -> Line:
    """Lanes, recorded steps, pinned copies and company change nothing of what is heard."""
    here = setup(ask, released=False, precision="float32")
    alone = spoken(replace(here, device="cpu", slots=1, deterministic=True))
    off = [float(np.abs(a - b).max()) for a, b in zip(alone, spoken(here), strict=True)]
    worst = max(off)
    return {
        "what": "sound beside a CPU's, one request at a time",
        "ok": worst <= SOUND,
        "tolerance": SOUND,
        "worst": float(f"{worst:.3g}"),
        "same": sum(each <= SOUND for each in off),
        "requests": len(off),
    }


def spoken(given: Setup) -> list[Sound]:
    """What an engine says to a crowd, half of whom have it streamed."""
    bench = Bench(given, ())
    heard: list[list[Sound]] = [[] for _ in range(REQUESTS)]
    for index, sounds in enumerate(heard):
        tokens = 10 + 25 * (index % 3)
        request, prepared = random_request(index, tokens, stream=index % 2 > 0)
        bench.core.begin(index, request, prepared, sounds.append)  # type: ignore[arg-type]
    while bench.core.step():
        pass
    for sounds in heard:
        if isinstance(sounds[-1], BaseException):
            raise sounds[-1]
    return [np.concatenate(sounds[:-1]) for sounds in heard]


def determinism(ask: Ask) -> Iterator[Line]:
    """Do requests say the same tokens in any company, and what do fixed shapes cost?"""
    crowds = (1, 8, 64) if ask.released else (1, 2, 4)
    ways = [(precision, False) for precision in PRECISIONS[:2]]
    walls = {}
    for precision, fixed in [*ways, (ask.precision, True)]:
        if ask.left <= 0:
            yield {"in": precision, "deterministic": fixed, "skipped": "no time is left"}
            return
        given = setup(ask, precision=precision, deterministic=fixed, slots=crowds[-1])
        bench = Bench(given, (4.0,) if ask.released else SMALL_OUTPUTS)
        yield {"in": precision, "deterministic": fixed, **_same(bench, crowds)}
        found = bench.warmed(crowds[-1], stream=False, rounds=1)
        walls[precision, fixed] = found["wall"]
        yield {"in": precision, "deterministic": fixed, "streams": crowds[-1], **found}
        del bench
        trim(ask.device)
    if (ask.precision, False) in walls:
        times = walls[ask.precision, True] / walls[ask.precision, False]
        yield {"what": "deterministic costs", "times": round(times, 2)}


def _same(bench: Bench, crowds: tuple[int, ...]) -> Line:
    """Tokens of the first requests in each crowd that are those that they say alone."""
    some = range(crowds[1])
    alone = [_said(bench, [index])[0] for index in some]
    same = {1: sum(map(len, alone))}
    for crowd in crowds[1:]:
        company = _said(bench, range(crowd))
        same[crowd] = sum(a == b for i in some for a, b in zip(alone[i], company[i], strict=True))
    return {"tokens": same[1], "same": same}


def _said(bench: Bench, indices: range | list[int]) -> list[list[int]]:
    """The tokens of requests that begin together."""
    core, tokens = bench.core, int(bench.outputs[0] * TOKEN_RATE)
    said: dict[int, list[int]] = {}
    for index in indices:
        request, prepared = random_request(index, tokens, stream=False)
        core.begin(1_000_000 + index, request, prepared, lambda item: None)
    while core.step():
        for piece in core.scheduler.pieces:
            said[piece.utterance] = piece.said
    return [said[1_000_000 + index] for index in indices]
