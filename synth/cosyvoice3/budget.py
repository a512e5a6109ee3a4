"""How much fits: slots of the cache and frames of a batch, told before anything is allocated.

Arithmetic on sizes alone. The frames of a batch rest on an estimate of what the networks hold at
once; where it is too rosy the engine shrinks its batches as it meets the end of memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from .dims import SAMPLES_PER_FRAME, FlowDims, HiFTDims, LMDims
from .errors import Exhausted

MIN_FRAMES = 2_000
"""A batch must at least hold one recording of 30 s with a few seconds of speech."""
MAX_SLOTS = 256
SHARE_OF_CACHE = 0.6
GUIDED_AND_FREE = 2
LIVE_IN_FLOW = 14
"""Copies of a frame's channels that live at once in a block of the flow."""
LIVE_IN_HIFT = 10
FLOAT32 = 4


@dataclass(frozen=True)
class Limits:
    """``slots`` rows of the cache, each ``length`` positions; ``frames`` of one padded batch."""

    slots: int
    length: int
    frames: int


def plan(
    dims: tuple[LMDims, FlowDims, HiFTDims], itemsize: int, length: int, memory: int, slots: int
) -> Limits:
    """Limits that fit into ``memory`` bytes beside the weights; at most ``slots``.

    Raises Exhausted if not even one utterance would fit.
    """
    lm, flow, hift = dims
    cache = slot_bytes(lm, itemsize, length)
    frame = frame_bytes(flow, hift, itemsize)
    rows = min(slots, MAX_SLOTS, int(memory * SHARE_OF_CACHE) // cache)
    frames = (memory - max(rows, 1) * cache) // frame
    if rows < 1 or frames < MIN_FRAMES:
        need = int(max(cache / SHARE_OF_CACHE, cache + MIN_FRAMES * frame))
        raise Exhausted(f"{memory >> 20} MiB are too few: one utterance needs {need >> 20} MiB")
    return Limits(rows, length, frames)


def slot_bytes(lm: LMDims, itemsize: int, length: int) -> int:
    """Keys and values of one slot."""
    return lm.layers * 2 * lm.kv_heads * lm.head * length * itemsize


def frame_bytes(flow: FlowDims, hift: HiFTDims, itemsize: int) -> int:
    """What a mel frame costs while it passes through flow or vocoder, whichever takes more."""
    in_flow = GUIDED_AND_FREE * itemsize * (LIVE_IN_FLOW * flow.width + 2 * flow.inner)
    widest = max(
        size * SAMPLES_PER_FRAME // (stride * hift.hop)
        for size, stride in zip(
            (hift.base >> i + 1 for i in range(len(hift.rates))), hift.strides, strict=True
        )
    )
    in_hift = FLOAT32 * (LIVE_IN_HIFT * widest + 4 * hift.harmonics * SAMPLES_PER_FRAME)
    return max(in_flow, in_hift)
