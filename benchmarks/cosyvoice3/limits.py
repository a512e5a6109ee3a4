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

from benchmarks.cosyvoice3 import count
from benchmarks.cosyvoice3.count import RELEASED, SMALL, Cost, Sizes

PROMPT, OUTPUT = 5, 8
"""Seconds of the recording and of the speech."""
TEXT = 60
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


def parts(sizes: Sizes = RELEASED, dtype: torch.dtype = torch.bfloat16) -> Iterator[Part]:
    """The engine's parts at a few sizes of batch; speech of 8 s after a recording of 5 s."""
    prefix = 2 + TEXT + PROMPT * 25
    for rows in (1, 64, 256):
        cost = count.lm_decode(sizes.lm, rows, 512, dtype)
        yield Part(f"language model, a token of {rows}", cost, rows / 25, replayed=True)
    for rows in (1, 32):
        cost = count.lm_prefill(sizes.lm, rows, prefix, dtype)
        yield Part(f"language model, prompts of {rows}", cost, rows * OUTPUT)
    for rows in (1, 12):
        cost = count.flow_step(sizes.flow, rows, 50 * (PROMPT + OUTPUT), dtype)
        yield Part(f"flow, ten steps of {rows}", cost, rows * OUTPUT, calls=10)
    for rows in (1, 12):
        yield Part(
            f"vocoder, speech of {rows}",
            count.vocoder(sizes.hift, rows, 50 * OUTPUT),
            rows * OUTPUT,
        )


def ears(names: Sequence[str] = ("base", "turbo"), clips: int = 64) -> Iterator[Part]:
    """Whisper on prompts of 5 s: the encoder's window is cut to 8 s, some 25 tokens come out."""
    for name in names:
        encoder, decoder = count.hearing(name, clips, context=400)
        yield Part(f"Whisper {name}, encoder, {clips} clips", encoder, clips * PROMPT)
        yield Part(f"Whisper {name}, 25 tokens, {clips} clips", decoder, clips * PROMPT, calls=25)


def flops_per_second(released: bool, output: float) -> float:
    """Operations for a second of speech in outputs of that length, the recording's share in it."""
    sizes, dtype = RELEASED if released else SMALL, torch.bfloat16
    frames = max(1, int(50 * output))
    token = count.lm_decode(sizes.lm, 1, 512, dtype).flops
    prompt = count.lm_prefill(sizes.lm, 1, 2 + TEXT + 25 * PROMPT, dtype).flops
    flow = count.flow_step(sizes.flow, 1, 50 * PROMPT + frames, dtype).flops
    sound = count.vocoder(sizes.hift, 1, frames).flops
    return 25 * token + (prompt + sizes.flow.steps * flow + sound) / output


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
    for part in chain(parts(), ears()):
        print(row(part), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
