"""One engine of random weights, driven step by step and timed.

Knows the engine's core and the clock. Refuses to know text, recordings and files.
"""

from __future__ import annotations

import itertools
import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.cosyvoice3 import profiled
from benchmarks.cosyvoice3.count import RELEASED, SMALL
from synth.cosyvoice3 import Recording, Request, Settings, layout, tiny
from synth.cosyvoice3.checkpoint import Networks, Precision, load_exactly, placed
from synth.cosyvoice3.device import settle
from synth.cosyvoice3.dims import SAMPLE_RATE, TOKEN_RATE
from synth.cosyvoice3.engine import assemble
from synth.cosyvoice3.flow import Flow
from synth.cosyvoice3.flow import from_released as flow_from
from synth.cosyvoice3.frontend import PieceText, Prepared
from synth.cosyvoice3.hift import HiFT
from synth.cosyvoice3.hift import from_released as hift_from
from synth.cosyvoice3.lm import SpeechLM
from synth.cosyvoice3.lm import from_released as lm_from
from synth.cosyvoice3.prompt import Prompt

LEVELS = (1, 4, 16, 32, 64, 128, 256)
SMALL_LEVELS = (1, 4)
PROMPT_SECONDS = 5
TEXT_TOKENS = 60
LENGTH = 1024
ROUNDS = 2
"""Requests at a level are this many times its concurrency."""


@dataclass(frozen=True)
class Setup:
    """What is measured."""

    released: bool
    device: str | None = None
    precision: str = "float32"
    slots: int | None = None
    memory_mb: int | None = None
    deterministic: bool = False


class Bench:
    """An engine's core, and what to ask of it."""

    def __init__(self, setup: Setup, outputs: tuple[float, ...]) -> None:
        self.outputs = outputs
        memory = setup.memory_mb << 20 if setup.memory_mb else None
        settings = Settings(
            device=setup.device,
            precision=setup.precision,
            length=LENGTH,
            memory=memory,
            slots=setup.slots,
            deterministic=setup.deterministic,
        )
        self.device = settings.torch_device()
        self.precision = Precision(setup.precision)
        networks = random_networks(setup.released, self.device, self.precision)
        self.core = assemble(networks, settings, self.device)
        self._numbers = itertools.count(1)

    def run(self, levels: Sequence[int], limit: float, started: float) -> dict[str, Any]:
        """Every level while there is time; whole speech first, then streamed."""
        results: list[dict[str, Any]] = []
        skipped: list[int] = []
        for level in levels:
            if time.perf_counter() - started > limit:
                skipped.append(level)
                continue
            whole, streamed = (self.warmed(level, stream=stream) for stream in (False, True))
            busy = _busy(self.device, Crowd(self, level, stream=False))
            results.append(
                {"concurrency": level, "whole": whole, "streamed": streamed, "device_busy": busy}
            )
        rate = matmul_rate(self.device, self.precision.dtype)
        scheduler = self.core.scheduler
        return {
            "device": device_name(self.device),
            "torch": torch.__version__,
            "limits": {"slots": scheduler.slots, "frames": scheduler.frames},
            "matmul_tflops": round(rate / 1e12, 3),
            "levels": results,
            "skipped": skipped,
        }

    def warmed(self, level: int, *, stream: bool, rounds: int = ROUNDS) -> dict[str, float]:
        """What `level` finds once its shapes have come before.

        At first and second sight kernels are chosen, steps are recorded and memory is taken.
        """
        self.level(level, stream=stream, rounds=2)
        return self.level(level, stream=stream, rounds=rounds)

    def level(self, level: int, *, stream: bool, rounds: int = ROUNDS) -> dict[str, float]:
        """Keep ``level`` requests under way until all are done."""
        settle(self.device)
        reset_memory(self.device)
        begin = time.perf_counter()
        crowd = Crowd(self, level, stream=stream, rounds=rounds)
        crowd.finish()
        wall = time.perf_counter() - begin
        audio = sum(call.samples for call in crowd.calls) / SAMPLE_RATE
        firsts = sorted(call.first - call.asked for call in crowd.calls)
        return {
            "requests": len(crowd.calls),
            "audio_seconds_per_second": round(audio / wall, 3),
            "first_sound_median": round(median(firsts), 3),
            "first_sound_p95": round(firsts[math.ceil(0.95 * len(firsts)) - 1], 3),
            "memory_mb": peak_memory(self.device) >> 20,
            "wall": round(wall, 3),
        }

    def ask(self, index: int, *, stream: bool) -> _Call:
        """Begin a request."""
        seconds = self.outputs[index % len(self.outputs)]
        call = _Call(time.perf_counter())
        request, prepared = random_request(index, int(seconds * TOKEN_RATE), stream)
        self.core.begin(next(self._numbers), request, prepared, call.take)
        return call


class Crowd:
    """So many requests under way at once, another for each that ends, ``rounds`` times as many."""

    def __init__(self, bench: Bench, level: int, *, stream: bool, rounds: int = 1) -> None:
        self._bench, self._stream, self._left = bench, stream, level * rounds
        self.calls: list[_Call] = []
        self._ask(level)

    @property
    def ended(self) -> int:
        """Requests that have all their sound."""
        return sum(call.ended for call in self.calls)

    def step(self) -> bool:
        """A step of the engine; False when all are done."""
        before = self.ended
        more = self._bench.core.step()
        self._ask(self.ended - before)
        return more

    def finish(self) -> None:
        """Until all are done."""
        while self.step():
            pass

    def _ask(self, count: int) -> None:
        count = min(count, self._left)
        self._left -= count
        for _ in range(count):
            self.calls.append(self._bench.ask(len(self.calls), stream=self._stream))


class _Call:
    """What a caller of the engine sees of the clock."""

    def __init__(self, asked: float) -> None:
        self.asked, self.first, self.samples = asked, 0.0, 0
        self.ended = False

    def take(self, item: Any) -> None:
        if isinstance(item, BaseException):
            raise item
        if item is None:
            self.ended = True
            return
        self.first = self.first or time.perf_counter()
        self.samples += len(item)


def random_request(index: int, tokens: int, stream: bool) -> tuple[Request, Prepared]:
    """Exactly so many speech tokens, in a voice nobody has."""
    chance = torch.Generator().manual_seed(index)
    count = PROMPT_SECONDS * TOKEN_RATE
    ids = torch.randint(0, tiny.LM.vocab, (TEXT_TOKENS,), generator=chance)
    prompt = Prompt(
        torch.randint(0, 6561, (count,), generator=chance),
        torch.randn(2 * count, 80, generator=chance),
        torch.randn(192, generator=chance),
    )
    nobody = Recording(np.zeros(1, np.float32), SAMPLE_RATE)
    piece = PieceText(tuple(ids.tolist()), tokens, tokens)
    return Request("", nobody, seed=index, stream=stream), Prepared((piece,), prompt, True)


def random_networks(released: bool, device: torch.device, precision: Precision) -> Networks:
    """The three networks, of released sizes or small, with weights of no meaning."""
    sizes = RELEASED if released else SMALL
    lm, flow, hift = SpeechLM(sizes.lm, LENGTH), Flow(sizes.flow), HiFT(sizes.hift)
    language = layout.llm(sizes.lm)
    language.pop("llm.model.lm_head.weight")
    load_exactly(lm, lm_from(layout.random(language, 1)), "llm")
    load_exactly(flow, flow_from(layout.random(layout.flow(sizes.flow), 2)), "flow")
    load_exactly(hift, hift_from(layout.random(layout.hift(sizes.hift), 3)), "hift")
    speech = lm.to(device, precision.dtype).eval()
    return Networks(speech, placed(flow.eval(), device, precision), hift.to(device).eval())


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of one large product, the best of a few."""
    size = 8192 if device.type == "cuda" else 192
    a = torch.randn(size, size, device=device, dtype=dtype)
    return 2 * size**3 / best_of(6, device, lambda: a @ a)


def bandwidth(device: torch.device) -> float:
    """Bytes per second of a large copy, read and written, the best of a few."""
    source = torch.empty(1 << 30 if device.type == "cuda" else 1 << 24, dtype=torch.uint8)
    source = source.to(device)
    target = torch.empty_like(source)
    return 2 * len(source) / best_of(6, device, lambda: target.copy_(source))


def best_of(tries: int, device: torch.device, work: Callable[[], object]) -> float:
    """Seconds of the fastest of some tries."""
    best = float("inf")
    for _ in range(tries):
        settle(device)
        begin = time.perf_counter()
        work()
        settle(device)
        best = min(best, time.perf_counter() - begin)
    return best


def _busy(device: torch.device, crowd: Crowd) -> float:
    """The share of the time in which the device computed: kernels on a GPU, cores on a CPU."""
    if device.type == "cuda":
        busy: float = profiled.summary(profiled.traced(device, crowd.finish))["busy"]
        return busy
    begin, used = time.perf_counter(), time.process_time()
    crowd.finish()
    wall = time.perf_counter() - begin
    return round((time.process_time() - used) / wall / torch.get_num_threads(), 3)


def reset_memory(device: torch.device) -> None:
    """Begin to look for a new peak."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Peak bytes that the GPU's allocator held since the level began, else of the process so far.

    What is held and not used just then counts: nobody else can have it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return host_memory()


def host_memory() -> int:
    """Peak bytes of this process on the host so far, pinned ones among them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def device_name(device: torch.device) -> str:
    """What it was measured on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"
