"""Quantiles that can be added up: DDSketch, kept as counts of its buckets.

Knows the mapping of a value to its bucket, with one percent of relative error. A bucket's count is
an amount like any other, so sketches are merged by addition and equal whatever the order. Refuses
to know what is measured.
"""

from __future__ import annotations

from collections.abc import Mapping

from ddsketch.mapping import LogarithmicMapping
from ddsketch.store import DenseStore

_MAPPING = LogarithmicMapping(relative_accuracy=0.01)
_LEAST = 0.001


def bucket(seconds: float) -> int:
    """The bucket of a duration; a millisecond is the least that is told apart."""
    return int(_MAPPING.key(max(seconds, _LEAST)))


def bound(number: int) -> float:
    """The duration that stands for a bucket, in seconds."""
    return float(_MAPPING.value(number))


def quantiles(counts: Mapping[int, int], wanted: tuple[float, ...]) -> list[float]:
    """The `wanted` quantiles, in seconds, of what `counts` holds; it must hold something."""
    store = DenseStore()
    for number, count in counts.items():
        store.add(number, count)
    return [bound(store.key_at_rank(q * (store.count - 1))) for q in wanted]
