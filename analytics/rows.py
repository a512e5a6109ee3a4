"""Rows of figures: one for each source partition and window, each with the last offset it took in.

Knows windows and the rule that makes counting exact: a row takes a record only if its offset lies
beyond the last one it took. Whoever counts may therefore see records again, after any death, and
needs no set of ids. Refuses to know where rows lie and what figures mean.

Rows are a ring: a window's place is taken by the one that comes `KEPT` windows after it, so there
are never more of them, no clock decides what goes, and a recount comes to the same rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from analytics.definitions import Amount, Fact, Figure, fact
from relay.log.port import Place, Record


class Size(StrEnum):
    """How long a window is. Longer and sliding ones are sums of these."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        return _SECONDS[self]


_SECONDS = {Size.MINUTE: 60, Size.HOUR: 3600, Size.DAY: 86_400}
KEPT = {Size.MINUTE: 360, Size.HOUR: 840, Size.DAY: 100_000}
"""Windows of a size before a place is taken again: six hours, five weeks, for good."""

MOST_LABELS = 100
"""Names under one figure in one row; what comes beyond is counted as `OTHER`."""
OTHER = "(other)"
DURATIONS = ("delay", "took")
"""Figures whose last name is a bucket of durations."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which row: the source partition, the size of window, its place in the ring."""

    topic: str
    partition: int
    size: Size
    slot: int


@dataclass(frozen=True, slots=True)
class Row:
    """What a source partition adds to the window that begins at `start` (seconds since 1970)."""

    start: int
    last: int
    figures: Mapping[Figure, int]


def windows(place: Place, at: datetime) -> Iterator[tuple[Where, int]]:
    """The rows that something of that time is counted in, and where their windows begin."""
    second = int(at.timestamp())
    for size in Size:
        number = second // size.seconds
        yield Where(*place, size, number % KEPT[size]), number * size.seconds


def grown(row: Row | None, fact: Fact, offset: int, start: int) -> Row | None:
    """`row` with what the record at `offset` says; None where it stays as it is.

    It does where it has taken that record before, and where a later window has its place.
    """
    if row is None:
        return Row(start, offset, added({}, fact.amounts))
    if offset <= row.last or start < row.start:
        return None
    return Row(start, offset, added(row.figures if start == row.start else {}, fact.amounts))


def added(figures: Mapping[Figure, int], amounts: Iterable[Amount]) -> dict[Figure, int]:
    """`figures` and `amounts` together."""
    sums = dict(figures)
    for figure, amount in amounts:
        name = figure if figure in sums or _room(sums, figure) else (figure[0], OTHER, *figure[2:])
        sums[name] = sums.get(name, 0) + amount
    return sums


def _room(sums: Mapping[Figure, int], figure: Figure) -> bool:
    """Whether a new name fits; buckets of a duration are bounded by themselves."""
    if figure[0] in DURATIONS:
        return True
    labels = {each[1] for each in sums if each[0] == figure[0]}
    return figure[1] in labels or len(labels) < MOST_LABELS


@dataclass(frozen=True, slots=True)
class Step:
    """What one record adds to one row."""

    where: Where
    start: int
    offset: int
    fact: Fact


def steps(records: Iterable[Record]) -> Iterator[Step]:
    """All that `records` add, in their order."""
    for record in records:
        said = fact(record)
        for where, start in windows((record.topic, record.partition), said.at):
            yield Step(where, start, record.offset, said)


def taken(before: Mapping[Where, Row], steps: Iterable[Step]) -> dict[Where, Row]:
    """The rows that `steps` change, where those of `before` were."""
    changed: dict[Where, Row] = {}
    for step in steps:
        row = changed.get(step.where) or before.get(step.where)
        if more := grown(row, step.fact, step.offset, step.start):
            changed[step.where] = more
    return changed


def after(records: Iterable[Record]) -> dict[Place, int]:
    """Per partition the offset after the last of `records`."""
    return {(record.topic, record.partition): record.offset + 1 for record in records}


def written(row: Row) -> str:
    """A row as JSON; the same row is always the same text."""
    figures = {"/".join(path): row.figures[path] for path in sorted(row.figures)}
    told = {"start": row.start, "last": row.last, "figures": figures}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def read(text: str | bytes) -> Row:
    """Inverse of `written`."""
    told = json.loads(text)
    return Row(told["start"], told["last"], summed(told["figures"].items()))


def summed(written: Iterable[tuple[str, int]]) -> Counter[Figure]:
    """Figures and their amounts, each figure as `written` spells it."""
    return Counter({tuple(path.split("/")): int(amount) for path, amount in written})


def total(rows: Iterable[Row]) -> Counter[Figure]:
    """The sum of rows."""
    sums: Counter[Figure] = Counter()
    for row in rows:
        sums.update(row.figures)
    return sums
