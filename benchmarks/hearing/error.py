"""Error rates of what was heard: by character, and by pinyin, in which homophones are equal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from moderation.words import fold


def distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Fewest insertions, deletions and replacements that turn `one` into `other`."""
    row = list(range(len(other) + 1))
    for number, left in enumerate(one, start=1):
        above, row = row, [number]
        for column, right in enumerate(other):
            row.append(min(above[column + 1] + 1, row[column] + 1, above[column] + (left != right)))
    return row[-1]


def rates(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Error rates over (said, heard) pairs; letters and digits only, simplified, lower-case."""
    folded = [(fold(said), fold(heard)) for said, heard in pairs]
    total = sum(len(said.chars) for said, _ in folded)
    by_character = sum(distance(said.chars, heard.chars) for said, heard in folded)
    by_sound = sum(distance(said.sounds, heard.sounds) for said, heard in folded)
    return {
        "characters": total,
        "by_character": round(by_character / total, 4),
        "by_pinyin": round(by_sound / total, 4),
    }
