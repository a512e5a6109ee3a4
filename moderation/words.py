"""Word lists against text: by character, and by how Mandarin sounds.

Knows the tricks that hide a word (width, case, traditional forms, marks and spaces in between,
another character of the same sound) and undoes them. Refuses to know which words, and what follows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache

import ahocorasick
import opencc
import pypinyin
from pypinyin.seg.simpleseg import seg

_LONGEST = 8
"""Longer pieces than phrases are: what a user wrote is not kept."""
_SYLLABLES_FROM = 0xF0000
"""Syllables are spelled as characters of a private plane, so one automaton kind serves both."""


class How(StrEnum):
    """How a word was found."""

    EXACT = "exact"
    HOMOPHONE = "homophone"


@dataclass(frozen=True, slots=True)
class Folded:
    """A text without its disguises.

    `chars` are its letters and digits alone, simplified and lower-case; `at[i]` is where `chars[i]`
    stands in `source`; `sounds` has one pinyin syllable (or the character itself) for each.
    """

    source: str
    chars: str
    at: tuple[int, ...]
    sounds: tuple[str, ...]

    def whole(self, start: int, end: int) -> bool:
        """Whether `chars[start:end]` cuts no Latin word or number in two."""
        before, after = self.at[start] - 1, self.at[end - 1] + 1
        cut_front = before >= 0 and _joined(self.source[before], self.source[before + 1])
        cut_back = after < len(self.source) and _joined(self.source[after - 1], self.source[after])
        return not (cut_front or cut_back)


def fold(text: str) -> Folded:
    """`text` as the lists are matched against it."""
    source = "".join(map(_plain, unicodedata.normalize("NFKC", text).lower()))
    at = tuple(i for i, char in enumerate(source) if unicodedata.category(char)[0] in "LN")
    chars = simplified("".join(source[i] for i in at))
    return Folded(source, chars, at, _sounds(chars))


def simplified(text: str) -> str:
    """`text` in simplified characters, as many as before."""
    converted: str = _converter().convert(text)
    if len(converted) == len(text):
        return converted
    return "".join(_converter().convert(char)[:1] or char for char in text)


@cache
def _converter() -> opencc.OpenCC:
    converter = opencc.OpenCC("t2s")
    converter.convert("詞")  # reads its dictionaries now, before a second thread can meet it
    return converter


class Lexicon:
    """A word list. Words shorter than `homophones_from` characters are matched exactly only."""

    def __init__(self, words: Iterable[str], homophones_from: int = 2) -> None:
        folded = [word for word in map(fold, words) if word.chars]
        self._exact = _automaton((word.chars, word.chars) for word in folded)
        self._syllables = {
            sound: chr(_SYLLABLES_FROM + i)
            for i, sound in enumerate(sorted({s for word in folded for s in word.sounds}))
        }
        self._heard = _automaton(
            (self._spelled(word), word.chars)
            for word in folded
            if len(word.chars) >= homophones_from and _is_mandarin(word)
        )

    def search(self, text: Folded) -> frozenset[How]:
        """How words of the list are found in `text`; empty where none is."""
        found = set[How]()
        if not text.chars:
            return frozenset(found)
        if any(text.whole(start, end) for start, end, _ in _hits(self._exact, text.chars)):
            found.add(How.EXACT)
        heard = _hits(self._heard, self._spelled(text))
        if any(text.chars[start:end] != word for start, end, word in heard):
            found.add(How.HOMOPHONE)
        return frozenset(found)

    def _spelled(self, text: Folded) -> str:
        return "".join(self._syllables.get(sound, "\0") for sound in text.sounds)


def _automaton(entries: Iterable[tuple[str, str]]) -> ahocorasick.Automaton:
    automaton = ahocorasick.Automaton()
    for key, word in entries:
        automaton.add_word(key, (len(key), word))
    automaton.make_automaton()
    return automaton


def _hits(automaton: ahocorasick.Automaton, text: str) -> Iterator[tuple[int, int, str]]:
    if len(automaton) == 0:
        return
    for last, (length, word) in automaton.iter(text):
        yield last + 1 - length, last + 1, word


def _plain(char: str) -> str:
    """A Latin letter without its marks; any other character as it is."""
    base = unicodedata.normalize("NFKD", char)[0]
    return base if base.isascii() and base.isalpha() else char


def _joined(left: str, right: str) -> bool:
    return left.isascii() and left.isalnum() and right.isascii() and right.isalnum()


def _is_mandarin(word: Folded) -> bool:
    """Whether every character has a syllable of its own."""
    return all(sound != char for sound, char in zip(word.sounds, word.chars, strict=True))


def _sounds(chars: str) -> tuple[str, ...]:
    """One syllable a character; what has none stands for itself."""
    phrases = seg(chars)
    sounds = [s for p in phrases for s in (_known(p) if len(p) <= _LONGEST else _spoken(p))]
    if len(sounds) == len(chars):
        return tuple(sounds)
    return tuple(pypinyin.lazy_pinyin(char)[0] for char in chars)


def _spoken(phrase: str) -> tuple[str, ...]:
    return tuple(pypinyin.lazy_pinyin(phrase, errors=list))  # type: ignore[arg-type]  # its example


_known = lru_cache(1 << 15)(_spoken)
"""Phrases come again, and looking them up is most of the work."""
