"""Where the time will go: what is counted, over what a device can do at best.

    python -m benchmarks.cosyvoice3.limits            the table, for H100 and H200

Each kernel takes as long as its arithmetic or its traffic, whichever is more, and never less than
a kernel's own time; a call takes as long as its kernels, or as the host needs to launch them. This
is a floor under the time, not a measurement: real kernels reach a part of either peak.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn

from benchmarks.cosyvoice3 import count
from benchmarks.cosyvoice3.count import RELEASED, SMALL, Cost, Sizes
from synth.cosyvoice3 import budget
from synth.cosyvoice3.dims import FRAMES_PER_TOKEN, MEL_RATE, TOKEN_RATE
from synth.cosyvoice3.flow import Flow
from synth.cosyvoice3.hift import HiFT
from synth.cosyvoice3.lm import SpeechLM
from synth.cosyvoice3.scheduler import HOP, LOOK_AHEAD

PROMPT, OUTPUT = 5, 8
"""Seconds of the recording and of the speech."""
TEXT = 60
PREFIX = 2 + TEXT + PROMPT * TOKEN_RATE
BATCH = 8192
"""Frames of a batch of speech on a GPU, the recordings' among them."""
LENGTH = 1024
"""Positions of a slot of the cache, as it is measured."""
SPAN = 512
"""Columns of the cache that a step of decoding looks at."""
KERNEL = 2e-6
"""Seconds from one small kernel to the next in a replayed graph: an assumption."""
LAUNCH = 6e-6
"""Seconds of the host for a launch that is not in a graph: an assumption."""


@dataclass(frozen=True)
class Device:
    """Peaks of a data sheet: operations a second by type, dense, and bytes a second."""

    name: str
    bandwidth: float
    half: float = 989e12
    tf32: float = 494e12
    single: float = 67e12
    double: float = 34e12

    def rate(self, dtype: torch.dtype, *, rounded: bool) -> float:
        """Operations a second in `dtype`; `rounded` lets float32 be TF32."""
        if dtype in (torch.bfloat16, torch.float16):
            return self.half
        if dtype == torch.float64:
            return self.double
        return self.tf32 if rounded else self.single


H100 = Device("H100 SXM", 3.35e12)
H200 = Device("H200 SXM", 4.8e12)


@dataclass(frozen=True)
class Rows:
    """The sizes of batch that each part is looked at with."""

    decoding: tuple[int, ...] = (1, 64, 256)
    prompts: tuple[int, ...] = (1, 32)
    speech: tuple[int, ...] = (1, 12)


FULL, FEW = Rows(), Rows((1, 4), (1, 2), (1, 2))


@dataclass(frozen=True)
class Part:
    """A part of the engine: what one call costs, and the seconds of speech it serves."""

    name: str
    cost: Cost
    serves: float
    replayed: bool = False
    calls: int = 1


@dataclass(frozen=True)
class Floor:
    """The least a call can take, in seconds, by what would hold it; kernels are their own sum."""

    compute: float
    traffic: float
    kernels: float
    launching: float

    @property
    def seconds(self) -> float:
        return max(self.kernels, self.launching)

    @property
    def held_by(self) -> str:
        """What takes most of it."""
        if self.launching > self.kernels:
            return "launches"
        if self.kernels > 2 * max(self.compute, self.traffic):
            return "small kernels"
        return "arithmetic" if self.compute >= self.traffic else "memory traffic"


def floor(part: Part, device: Device, *, rounded: bool = True) -> Floor:
    """What `part` takes at least on `device`."""
    arithmetic = [op.flops / device.rate(op.dtype, rounded=rounded) for op in part.cost.ops]
    traffic = [op.bytes / device.bandwidth for op in part.cost.ops]
    kernels = sum(max(a, t, KERNEL) for a, t in zip(arithmetic, traffic, strict=True))
    launching = 0.0 if part.replayed else part.cost.launches * LAUNCH
    times = (sum(arithmetic), sum(traffic), kernels, launching)
    return Floor(*(part.calls * each for each in times))


def parts(
    sizes: Sizes = RELEASED, dtype: torch.dtype = torch.bfloat16, rows: Rows = FULL
) -> Iterator[Part]:
    """The engine's parts at a few sizes of batch; speech of 8 s after a recording of 5 s."""
    for n in rows.decoding:
        cost = count.lm_decode(sizes.lm, n, SPAN, dtype)
        yield Part(f"language model, a token of {n}", cost, n / TOKEN_RATE, replayed=True)
    for n in rows.prompts:
        cost = count.lm_prefill(sizes.lm, n, PREFIX, dtype)
        yield Part(f"language model, prompts of {n}", cost, n * OUTPUT)
    steps = sizes.flow.steps
    for n in rows.speech:
        cost = count.flow_step(sizes.flow, n, MEL_RATE * (PROMPT + OUTPUT), dtype)
        yield Part(f"flow, {steps} steps of {n}", cost, n * OUTPUT, calls=steps)
    for n in rows.speech:
        cost = count.vocoder(sizes.hift, n, MEL_RATE * OUTPUT)
        yield Part(f"vocoder, speech of {n}", cost, n * OUTPUT)


def flops_per_second(released: bool, output: float) -> float:
    """Operations for a second of speech in outputs of that length, the recording's share in it."""
    sizes, dtype = RELEASED if released else SMALL, torch.bfloat16
    frames = max(1, int(MEL_RATE * output))
    token = count.lm_decode(sizes.lm, 1, SPAN, dtype).flops
    prompt = count.lm_prefill(sizes.lm, 1, PREFIX, dtype).flops
    flow = count.flow_step(sizes.flow, 1, MEL_RATE * PROMPT + frames, dtype).flops
    sound = count.vocoder(sizes.hift, 1, frames).flops
    return TOKEN_RATE * token + (prompt + sizes.flow.steps * flow + sound) / output


def first_chunk(device: Device, streams: int) -> float:
    """Seconds to the last first chunk of so many streams that begin at once, if nothing overlaps.

    A chunk of 25 tokens is spoken when three more are there, and tokens come eight at a time.
    """
    sizes, half, burst = RELEASED, torch.bfloat16, 8
    prompts = count.lm_prefill(sizes.lm, min(streams, 32), PREFIX, half)
    token = count.lm_decode(sizes.lm, streams, SPAN, half)
    frames = FRAMES_PER_TOKEN * (TOKEN_RATE * PROMPT + HOP + LOOK_AHEAD)
    batches = -(-streams // (BATCH // frames))
    rows = streams // batches
    flow = count.flow_step(sizes.flow, rows, frames, half)
    sound = count.vocoder(sizes.hift, rows, FRAMES_PER_TOKEN * HOP)
    calls = (
        Part("prompts", prompts, 0, calls=-(-streams // 32)),
        Part("tokens", token, 0, replayed=True, calls=-(-(HOP + LOOK_AHEAD) // burst) * burst),
        Part("flow", flow, 0, calls=sizes.flow.steps * batches),
        Part("vocoder", sound, 0, calls=batches),
    )
    return sum(floor(part, device).seconds for part in calls)


def held(slots: int) -> dict[str, float]:
    """GB of weights, of the cache and of a batch of speech at most, in bfloat16."""
    with count.META:
        lm, flow = SpeechLM(RELEASED.lm, 1), Flow(RELEASED.flow)
        hift = HiFT(RELEASED.hift)
    sizes = [2 * _elements(lm), 2 * _elements(flow), 4 * _elements(hift)]
    return {
        "weights": sum(sizes) / 1e9,
        "cache": slots * budget.slot_bytes(RELEASED.lm, 2, LENGTH) / 1e9,
        "speech": BATCH * budget.frame_bytes(RELEASED.flow, RELEASED.hift, 2) / 1e9,
    }


def _elements(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def row(part: Part, devices: Sequence[Device] = (H100, H200)) -> str:
    """A line of the table."""
    flops, moved = part.calls * part.cost.flops, part.calls * part.cost.bytes
    cells = [part.name, f"{flops / 1e9:,.1f}", f"{moved / 1e9:,.2f}"]
    cells.append(f"{part.calls * part.cost.launches:,}")
    for device in devices:
        least = floor(part, device)
        cells.append(f"{least.seconds * 1e3:,.2f} ms, {least.held_by}")
    cells.append(f"{part.serves / floor(part, devices[-1]).seconds:,.0f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    print("| part | GFLOP | GB moved | kernels | H100 | H200 | audio s per s on H200 |")
    print("|---|---|---|---|---|---|---|")
    from benchmarks.cosyvoice3.whispers import ears  # only this table needs Whisper

    for part in chain(parts(), ears()):
        print(row(part), flush=True)
    for device in (H100, H200):
        chunks = ", ".join(f"{1e3 * first_chunk(device, n):.0f} ms of {n}" for n in (1, 64))
        print(f"first chunk on {device.name}: {chunks}")
    print("GB of 256 slots:", ", ".join(f"{name} {gb:.1f}" for name, gb in held(256).items()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
