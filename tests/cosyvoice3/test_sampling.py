"""Vectorised sampling draws what the sampler of the training's authors draws."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from synth.cosyvoice3.dims import SPEECH_CODES
from synth.cosyvoice3.sampling import TAU, TOP_K, TOP_P, WINDOW, derive, sample, uniform

ROWS = 6761


def reference(logits: list[float], recent: list[int]) -> list[float]:
    """The chance of each id, worked out slowly.

    Nucleus of at most 25 until 0.8 is gathered; a repeated id is drawn again from the rest.
    """
    weights = [math.exp(x) for x in logits]
    share = [w / sum(weights) for w in weights]
    kept: list[int] = []
    for i in sorted(range(len(share)), key=lambda i: -share[i]):
        if sum(share[k] for k in kept) >= TOP_P or len(kept) >= TOP_K:
            break
        kept.append(i)
    out = [0.0] * len(share)
    for i in kept:
        first = share[i] / sum(share[k] for k in kept)
        if sum(r == i for r in recent[-WINDOW:]) < WINDOW * TAU:
            out[i] += first
            continue
        for j in range(len(share)):
            out[j] += first * share[j] / (1 - share[i]) if j != i else 0.0
    return out


def draw(logits: torch.Tensor, recent: list[int], count: int, may_stop: bool = True) -> list[int]:
    """Many draws from one row, each as a row of its own with its own seed."""
    window = torch.tensor([-1] * (WINDOW - len(recent)) + recent).expand(count, -1)
    step = torch.zeros(count, dtype=torch.long)
    allowed = torch.full((count,), may_stop)
    return sample(
        logits.expand(count, -1).clone(), window, torch.arange(count), step, allowed
    ).tolist()


@pytest.mark.parametrize("recent", [[], [3, 7], [0] * 10])
def test_the_distribution_is_the_reference_s(recent: list[int]) -> None:
    logits = torch.full((ROWS,), -20.0)
    logits[:12] = torch.linspace(2, 0, 12)
    count = 3000
    got = Counter(draw(logits, recent, count))
    want = reference(logits.tolist(), recent)
    for token in range(12):
        expected = count * want[token]
        assert abs(got[token] - expected) < 5 * math.sqrt(expected + 1), token
    assert sum(got[token] for token in range(12)) == count


def test_no_stop_comes_before_it_may() -> None:
    logits = torch.zeros(ROWS)
    logits[SPEECH_CODES:] = 30.0
    assert all(token >= SPEECH_CODES for token in draw(logits, [], 200))
    assert all(token < SPEECH_CODES for token in draw(logits, [], 200, may_stop=False))


def test_a_row_draws_the_same_in_any_company() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(32, ROWS, generator=generator)
    recent = torch.randint(0, 40, (32, WINDOW), generator=generator)
    seeds, steps = torch.arange(32) * 7919, torch.arange(32)
    may = torch.ones(32, dtype=torch.bool)
    together = sample(logits.clone(), recent, seeds, steps, may)
    for i in range(32):
        row = slice(i, i + 1)
        assert (
            sample(logits[row].clone(), recent[row], seeds[row], steps[row], may[row])
            == together[i]
        )


def test_chance_is_even_and_differs_by_seed_step_and_stream() -> None:
    seeds = torch.arange(20_000)
    steps = torch.zeros_like(seeds)
    first, second = uniform(seeds, steps, 0), uniform(seeds, steps, 1)
    assert 0 <= float(first.min()) <= float(first.max()) < 1
    assert abs(float(first.mean()) - 0.5) < 0.01
    assert abs(float(torch.corrcoef(torch.stack((first, second)))[0, 1])) < 0.03
    along = uniform(torch.full_like(seeds, 7), seeds, 0)
    assert abs(float(along.var()) - 1 / 12) < 0.003
    assert len(set(along.tolist())) == len(along)


def test_pieces_have_seeds_of_their_own() -> None:
    assert derive(5, 0) == 5
    assert len({derive(seed, i) for seed in range(50) for i in range(50)}) == 2500
    assert derive(2**63 + 5, 0) < 0  # any 64-bit seed fits the device's integers
