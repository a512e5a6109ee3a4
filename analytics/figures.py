"""Figures as people and programs read them: windows, sums, quantiles and cost.

Knows how rows add up to an answer. Refuses to read rows, to count, and to know the time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from analytics.definitions import Figure
from analytics.rows import DURATIONS, Row, Size
from analytics.sketch import quantiles
from schemas.envelope import format_time

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_CENT = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Price:
    """What a minute of speech costs to compute."""

    minute: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Span:
    """`count` windows of a size, the last one the window of `now`; each with those before it.

    `sliding` is how many windows each of them sums up: 1 tumbles.
    """

    size: Size
    count: int
    now: datetime
    sliding: int = 1

    @property
    def starts(self) -> range:
        """Where the windows begin."""
        step = self.size.seconds
        last = int(self.now.timestamp()) // step * step
        return range(last - (self.count - 1) * step, last + step, step)

    @property
    def since(self) -> int:
        """Where the first row begins that any of them needs."""
        return self.starts[0] - (self.sliding - 1) * self.size.seconds


def answer(span: Span, rows: Iterable[Row], price: Price | None = None) -> dict[str, Any]:
    """The windows of `span`, empty ones too, and what they are together."""
    by_start: defaultdict[int, Counter[Figure]] = defaultdict(Counter)
    for row in rows:
        by_start[row.start].update(row.figures)
    windows = [
        {"start": _time(start), **told(_slide(span, start, by_start), price)}
        for start in span.starts
    ]
    whole = _sum(sums for start, sums in by_start.items() if start in span.starts)
    return {
        "size": span.size,
        "sliding": span.sliding,
        "windows": windows,
        "total": told(whole, price),
    }


def told(sums: Mapping[Figure, int], price: Price | None = None) -> dict[str, Any]:
    """Sums as a document: names within names, seconds of sound, quantiles of durations, cost."""
    document: dict[str, Any] = {}
    lasted: defaultdict[Figure, Counter[int]] = defaultdict(Counter)
    for path, amount in sorted(sums.items()):
        if path[0] in DURATIONS:
            lasted[path[:2]][int(path[2])] += amount
        elif path[0] == "audio_ms":
            document.setdefault("audio_seconds", {})[path[1]] = amount / 1000
        else:
            _put(document, path, amount)
    for (head, name), counts in lasted.items():
        document.setdefault(f"{head}_seconds", {})[name] = _lasted(counts)
    if price is not None:
        document["cost"] = {"amount": str(cost(sums, price)), "currency": price.currency}
    return document


def cost(sums: Mapping[Figure, int], price: Price) -> Decimal:
    """Of the speech that was computed; what was found in the store costs nothing again."""
    return (price.minute * sums.get(("audio_ms", "spoken"), 0) / 60_000).quantize(_CENT)


def _put(document: dict[str, Any], path: Sequence[str], amount: int) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {})
    document[path[-1]] = amount


def _lasted(counts: Mapping[int, int]) -> dict[str, float]:
    found = quantiles(counts, tuple(QUANTILES.values()))
    rounded = [round(value, 4) for value in found]
    return {"count": sum(counts.values()), **dict(zip(QUANTILES, rounded, strict=True))}


def _slide(span: Span, start: int, by_start: Mapping[int, Counter[Figure]]) -> Counter[Figure]:
    first = start - (span.sliding - 1) * span.size.seconds
    wanted = range(first, start + 1, span.size.seconds)
    return _sum(by_start[each] for each in wanted if each in by_start)


def _sum(parts: Iterable[Mapping[Figure, int]]) -> Counter[Figure]:
    whole: Counter[Figure] = Counter()
    for part in parts:
        whole.update(part)
    return whole


def _time(start: int) -> str:
    return format_time(datetime.fromtimestamp(start, UTC))
