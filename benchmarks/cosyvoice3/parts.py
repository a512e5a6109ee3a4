"""The phase of the plan that times each part of the engine by itself, beside its floor.

What the whole loses is then known by component: a part that is far from its floor is slow, parts
that are near theirs in an engine that is not wait for each other. Knows the runner's calls and the
clock; what a call must cost is counted by `limits`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import torch

from benchmarks.cosyvoice3 import limits
from benchmarks.cosyvoice3.count import RELEASED, SMALL
from benchmarks.cosyvoice3.engine_phases import setup
from benchmarks.cosyvoice3.limits import FEW, FULL, OUTPUT, PROMPT, SPAN, Part, Rows
from benchmarks.cosyvoice3.measure import Bench, device_name, random_request
from benchmarks.cosyvoice3.plan import Ask, Line
from synth.cosyvoice3.checkpoint import Precision
from synth.cosyvoice3.device import convolving, settle
from synth.cosyvoice3.dims import MEL_BINS, MEL_RATE, SPEECH_CODES, TOKEN_RATE
from synth.cosyvoice3.flow import FlowRow
from synth.cosyvoice3.runner import Runner, Start

BURST = 8
WARM, TRIES = 3, 7
"""A shape is recorded when it comes the second time."""
Work = tuple[Callable[[], object], int]
"""A call, and how many times it does what a part does."""


def parts(ask: Ask) -> Iterator[Line]:
    """Each part at a few sizes of batch: its time, over the least that it can take."""
    sizes, rows = (RELEASED, FULL) if ask.released else (SMALL, FEW)
    counted = limits.parts(sizes, Precision(ask.precision).dtype, rows)
    runner = Bench(setup(ask, slots=max(rows.decoding)), ()).core.runner
    for part, (work, times) in zip(counted, works(runner, rows), strict=True):
        if ask.left <= 0:
            yield {"part": part.name, "skipped": "no time is left"}
            continue
        yield _line(ask, part, timed(ask.device, work) / times)


def _line(ask: Ask, part: Part, seconds: float) -> Line:
    line: Line = {
        "part": part.name,
        "ms": float(f"{1e3 * seconds:.4g}"),
        "audio_seconds_per_second": round(part.serves / seconds, 1),
        "tflops": float(f"{part.calls * part.cost.flops / seconds / 1e12:.3g}"),
        "gb_per_second": float(f"{part.calls * part.cost.bytes / seconds / 1e9:.3g}"),
    }
    for device in (limits.H100, limits.H200):
        if device.name.split()[0] in device_name(ask.device):
            least = limits.floor(part, device, rounded=ask.precision != "float32")
            times = round(seconds / least.seconds, 2)
            floor_ms = float(f"{1e3 * least.seconds:.4g}")
            line |= {"floor_ms": floor_ms, "held_by": least.held_by, "times_the_floor": times}
    return line


def works(runner: Runner, rows: Rows) -> Iterator[Work]:
    """What is timed of the runner, in the order of `limits.parts`."""
    _, prepared = random_request(0, OUTPUT * TOKEN_RATE, stream=False)
    runner.hold(0, prepared.prompt)
    ids = prepared.pieces[0].ids
    starts = [
        Start(slot, ids, 0, True, least=9999, most=9999, seed=slot)
        for slot in range(max(rows.decoding))
    ]
    for n in rows.decoding:
        runner.start(starts[:n])
        yield lambda n=n: runner.decode(n, SPAN, BURST).result(), BURST
    for n in rows.prompts:
        yield partial(runner.start, starts[:n]), 1
    device, networks = runner.device, runner.networks
    voice = runner.voices[0]
    speech = torch.arange(OUTPUT * TOKEN_RATE, device=device) % SPEECH_CODES
    row = FlowRow(torch.cat((voice.tokens, speech)), voice.mel, voice.speaker)
    for n in rows.speech:
        yield partial(networks.flow, [row] * n, MEL_RATE * (PROMPT + OUTPUT)), 1
    mel = torch.randn(MEL_RATE * OUTPUT, MEL_BINS, device=device)
    for n in rows.speech:
        yield partial(_vocoded, runner, [mel] * n), 1


def _vocoded(runner: Runner, mels: list[torch.Tensor]) -> object:
    with convolving(exactly=runner.exact):
        return runner.networks.hift(mels)


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds from asking for it until the device has done it, the median of a few."""
    found = []
    for _ in range(WARM + TRIES):
        settle(device)
        begin = time.perf_counter()
        work()
        settle(device)
        found.append(time.perf_counter() - begin)
    return median(found[WARM:])
