"""Repetition-aware sampling of a whole batch, with a stream of chance of its own for every row.

A row's numbers are a hash of its seed and of how many tokens it has: no generator to keep, no host
to ask, the same on every device and beside any neighbours. Knows logits and ids, nothing else.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .dims import SPEECH_CODES

TOP_P = 0.8
TOP_K = 25
WINDOW = 10
TAU = 0.1
STOP = SPEECH_CODES
"""What a finished row reads: the first of the ids that all end an utterance."""

_MASK64 = (1 << 64) - 1


def sample(logits: Tensor, recent: Tensor, seed: Tensor, step: Tensor, may_stop: Tensor) -> Tensor:
    """The next id of each row (batch,).

    ``logits`` (batch, rows); ``recent`` (batch, 10) the last ids, -1 where there are none yet;
    ``seed``, ``step`` (batch,) int64; ``may_stop`` (batch,) bool: where false, no id from 6561 on
    can come out. An id drawn from the nucleus that stands in ``recent`` is drawn again from
    everything but itself.
    """
    barred = torch.arange(logits.shape[1], device=logits.device) >= SPEECH_CODES
    shares = logits.masked_fill(barred & ~may_stop[:, None], float("-inf")).softmax(-1)
    first = nucleus(shares, uniform(seed, step, 0))
    repeated = (recent == first[:, None]).sum(1) >= WINDOW * TAU
    others = shares.scatter(1, first[:, None], 0.0)
    return torch.where(repeated, anywhere(others, uniform(seed, step, 1)), first)


def nucleus(shares: Tensor, chance: Tensor) -> Tensor:
    """An id among the likeliest: at most 25, and none once 0.8 of the whole is gathered."""
    share, ids = shares.topk(TOP_K, -1)
    before = share.cumsum(-1) - share
    share = share * (before < TOP_P)
    reach = share.cumsum(-1)
    drawn = (reach <= chance[:, None].to(reach) * reach[:, -1:]).sum(-1, keepdim=True)
    last = (share > 0).sum(-1, keepdim=True) - 1
    return ids.gather(1, torch.minimum(drawn, last)).squeeze(1)


def anywhere(shares: Tensor, chance: Tensor) -> Tensor:
    """An id from the whole distribution; one of no share never comes out."""
    reach = shares.cumsum(-1, dtype=torch.float64)
    target = chance[:, None] * reach[:, -1:]
    drawn = torch.searchsorted(reach, target, right=True).squeeze(1)
    return drawn.clamp_max(shares.shape[1] - 1)


def uniform(seed: Tensor, step: Tensor, stream: int) -> Tensor:
    """A number in [0, 1) for each row, float64, from splitmix64 of (seed, step, stream)."""
    start = mix64(seed + _signed(0x9E3779B97F4A7C15 * (stream + 1)))
    mixed = mix64(start + step * _signed(0x9E3779B97F4A7C15))
    return _shift(mixed, 11).double() * 2.0**-53


def mix64(x: Tensor) -> Tensor:
    """The finaliser of splitmix64 on int64 (torch has no unsigned product on every device)."""
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, by: int) -> Tensor:
    """A logical shift to the right."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _signed(value: int) -> int:
    value &= _MASK64
    return value - (1 << 64) if value >> 63 else value


def derive(seed: int, index: int) -> int:
    """A seed for one piece of a request: piece 0 keeps to the request's own."""
    return _derived(seed, index) if index else _signed(seed)


def _derived(seed: int, index: int) -> int:
    return int(mix64(torch.tensor(_signed(seed)) + mix64(torch.tensor(index))))
