"""What each part of the model costs, counted by running its own code on tensors without values.

Of every operation: how much it computes, what it reads and writes. Nothing is timed and nothing is
computed: released sizes take seconds on any CPU. Knows the networks; refuses to know devices and
how fast they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from synth.cosyvoice3 import layout, tiny
from synth.cosyvoice3.dims import FlowDims, HiFTDims, LMDims
from synth.cosyvoice3.flow import Flow, Vectors
from synth.cosyvoice3.hift import HiFT
from synth.cosyvoice3.lm import KVCache, SpeechLM
from synth.cosyvoice3.sampling import WINDOW, sample

META = torch.device("meta")
_aten = torch.ops.aten
_LOOK_UPS = frozenset({_aten.embedding, _aten.index, _aten.gather, _aten.index_select})
_WRITES = frozenset({_aten.index_put_, _aten.copy_, _aten.scatter_})
_WHOLE = frozenset({_aten.scaled_dot_product_attention, _aten.rms_norm, _aten.linear})
"""One kernel on a GPU, though torch knows how to take them apart."""
_NOTHING = frozenset({_aten.empty, _aten.new_empty, _aten.empty_like, _aten.empty_strided})


@dataclass(frozen=True)
class Sizes:
    """The three networks' sizes."""

    lm: LMDims
    flow: FlowDims
    hift: HiFTDims


RELEASED = Sizes(layout.RELEASED_LM, layout.RELEASED_FLOW, layout.RELEASED_HIFT)
SMALL = Sizes(tiny.LM, replace(tiny.FLOW, steps=2), tiny.HIFT)


@dataclass(frozen=True)
class Op:
    """One kernel: floating-point operations (a multiply-add is two), bytes, what it computes in."""

    flops: float
    bytes: int
    dtype: torch.dtype


@dataclass(frozen=True)
class Cost:
    """The kernels of one call."""

    ops: tuple[Op, ...]

    @property
    def flops(self) -> float:
        """Floating-point operations."""
        return sum(op.flops for op in self.ops)

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return sum(op.bytes for op in self.ops)

    @property
    def launches(self) -> int:
        """Kernels."""
        return len(self.ops)


class _Listed(TorchDispatchMode):
    """Notes each operation that makes something; views make nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.ops: list[Op] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket, kwargs or {}
        if name not in _WHOLE:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if not func.is_view and name not in _NOTHING:
            flops = _flops(name, args, kwargs, out)
            found = [t.dtype for t in _tensors((args, out)) if t.is_floating_point()]
            dtype = found[0] if found else torch.long
            self.ops.append(Op(flops, _moved(name, (args, kwargs), out), dtype))
        if name is _aten.scaled_dot_product_attention:  # kernels leave it as the next layer wants
            out = out.transpose(1, 2).contiguous().transpose(1, 2)
        return out


def _flops(name: Any, args: Any, kwargs: Any, out: Any) -> float:
    if name is _aten.scaled_dot_product_attention:
        queries, keys = args[:2]
        return float(2 * 2 * queries.numel() * keys.shape[-2])
    if name is _aten.linear:
        return float(2 * out.numel() * args[1].shape[1])
    count = flop_registry.get(name)
    return count(*args, **kwargs, out_val=out) if count else 0.0


def _moved(name: Any, given: Any, out: Any) -> int:
    if name in _LOOK_UPS:  # of a table, no more is read than comes out
        return 2 * _bytes(out)
    if name in _WRITES:  # nor is more of it written than comes in
        return 2 * min(map(_bytes, _tensors(given)))
    return _bytes(given) + _bytes(out)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tree: Any) -> int:
    return sum(min(t.numel() * t.itemsize, t.untyped_storage().nbytes()) for t in _tensors(tree))


def counted(work: Callable[[], object]) -> Cost:
    """What doing `work` once costs."""
    with torch.inference_mode(), _Listed() as listed:
        work()
    return Cost(tuple(listed.ops))


def lm_decode(dims: LMDims, rows: int, span: int, dtype: torch.dtype) -> Cost:
    """One token for each of `rows`, drawn and all."""
    with META:
        lm = SpeechLM(dims, span).to(dtype)
        cache = KVCache(dims, rows, span, dtype, META)
        at, token = torch.zeros(2, rows, dtype=torch.long).unbind()
        recent = torch.zeros(rows, WINDOW, dtype=torch.long)
        may = torch.ones(rows, dtype=torch.bool)
        return counted(lambda: sample(lm.decode(token, at, cache, span), recent, at, at, may))


def lm_prefill(dims: LMDims, rows: int, length: int, dtype: torch.dtype) -> Cost:
    """Prompts of `length` into as many slots."""
    with META:
        lm = SpeechLM(dims, length).to(dtype)
        cache = KVCache(dims, rows, length, dtype, META)
        prompts = [torch.zeros(length, dims.width, dtype=dtype)] * rows
        slots = torch.zeros(rows, dtype=torch.long)
        return counted(lambda: lm.prefill(prompts, slots, cache))


def flow_step(dims: FlowDims, rows: int, frames: int, dtype: torch.dtype) -> Cost:
    """One Euler step of `rows`, guided and free; `frames` are the recording's and the speech's."""
    with META:
        estimator, width = Flow(replace(dims, steps=1)).to(dtype).estimator, dims.width
        block: Vectors = tuple(torch.zeros(6, width, dtype=dtype).unbind())
        times = [block] * dims.depth + [block[:2]]
        still = torch.zeros(2 * rows, frames, width, dtype=dtype)
        turns = torch.zeros(frames, 1, dims.head, dtype=dtype)
        mask = torch.zeros(2 * rows, 1, 1, frames, dtype=dtype)
        mel = torch.zeros(rows, frames, 80, dtype=dtype)

        def step() -> Tensor:
            x = still + estimator.moving(mel).repeat(2, 1, 1)
            moved: Tensor = estimator(x, times, turns, turns, mask)
            return moved

        return counted(step)


def vocoder(dims: HiFTDims, rows: int, frames: int) -> Cost:
    """Mel to sound, in float32; the pitch in float64."""
    with META:
        hift = HiFT(dims)
        hift.noise.table = torch.zeros(frames * 480, dims.harmonics)
        mels = [torch.zeros(frames, 80)] * rows
        return counted(lambda: hift(mels))
