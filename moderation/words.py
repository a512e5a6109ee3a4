"""Word lists against text: by character, and by how Mandarin sounds.

Knows the tricks that hide a word (width, case, traditional forms, marks and spaces in between,
another character of the same sound) and undoes them. Refuses to know which words, and what follows.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property, lru_cache
from importlib import resources
from itertools import zip_longest
from operator import add
from threading import Lock

import ahocorasick
import opencc
import pypinyin
from pypinyin.constants import PHRASES_DICT, PINYIN_DICT
from pypinyin.contrib.tone_convert import to_normal

_SYLLABLES_FROM = 0xF0000
"""Syllables are spelled as characters of a private plane, so one automaton kind serves both."""


def _plain(char: str) -> str:
    """A Latin letter without its marks; any other character as it is."""
    base = unicodedata.normalize("NFKD", char)[0]
    return base if base.isascii() and base.isalpha() else char


def _letter(char: str) -> str | None:
    return char if unicodedata.category(char)[0] in "LN" else None


class _Each(dict[int, str | None]):
    """For `str.translate`: what becomes of a character, asked once for each there is."""

    def __init__(self, becomes: Callable[[str], str | None]) -> None:
        self._becomes = becomes

    def __missing__(self, code: int) -> str | None:
        return self.setdefault(code, self._becomes(chr(code)))


_PLAIN, _LETTERS = _Each(_plain), _Each(_letter)


class How(StrEnum):
    """How a word was found."""

    EXACT = "exact"
    HOMOPHONE = "homophone"


@dataclass(frozen=True)
class Folded:
    """A text without its disguises.

    `chars` are the letters and digits of `source` alone, simplified.
    """

    source: str
    chars: str

    @cached_property
    def at(self) -> tuple[int, ...]:
        """Where in `source` each of `chars` stands."""
        return tuple(i for i, char in enumerate(self.source) if char.translate(_LETTERS))

    @cached_property
    def sounds(self) -> str:
        """One character for the pinyin syllable of each of `chars`, or itself where it has none."""
        return _sounds(self.chars)

    def whole(self, start: int, end: int) -> bool:
        """Whether `chars[start:end]` cuts no Latin word or number in two."""
        before, after = self.at[start] - 1, self.at[end - 1] + 1
        cut_front = before >= 0 and _joined(self.source[before], self.source[before + 1])
        cut_back = after < len(self.source) and _joined(self.source[after - 1], self.source[after])
        return not (cut_front or cut_back)


def fold(text: str) -> Folded:
    """`text` as the lists are matched against it."""
    source = unicodedata.normalize("NFKC", text).lower().translate(_PLAIN)
    return Folded(source, simplified(source.translate(_LETTERS)))


def simplified(text: str) -> str:
    """`text` in simplified characters, as many as before."""
    if _traditional().isdisjoint(text):
        return text
    converted: str = _converter().convert(text)
    if len(converted) == len(text):
        return converted
    return "".join(_converter().convert(char)[:1] or char for char in text)


@cache
def _traditional() -> frozenset[str]:
    """The characters that the conversion changes, alone or in a phrase: few texts have one."""
    changed = set[str]()
    for name in ("TSCharacters.txt", "TSPhrases.txt"):
        lines = (resources.files(opencc) / "dictionary" / name).read_text("utf-8").splitlines()
        for old, _, new in (line.partition("\t") for line in lines):
            for each in new.split():
                changed |= {a for a, b in zip_longest(old, each) if a and a != b}
    return frozenset(changed)


@cache
def _converter() -> opencc.OpenCC:
    converter = opencc.OpenCC("t2s")
    converter.convert("詞")  # reads its dictionaries now, before a second thread can meet it
    return converter


_Lists = dict[str, set[str]]
"""By list, the words that are meant."""


class Lexicon:
    """Word lists by name, searched together: a text is read once, however many there are."""

    def __init__(self, lists: Mapping[str, tuple[Iterable[str], int]]) -> None:
        """A list is its words, and how many characters make one that is matched by sound too."""
        exact, heard = defaultdict[str, _Lists](dict), defaultdict[str, _Lists](dict)
        for name, (words, homophones_from) in lists.items():
            for word in filter(lambda word: word.chars, map(fold, words)):
                exact[word.chars].setdefault(name, set()).add(word.chars)
                if len(word.chars) >= homophones_from and _is_mandarin(word):
                    heard[word.sounds].setdefault(name, set()).add(word.chars)
        self._exact, self._heard = _automaton(exact), _automaton(heard)

    def search(self, text: Folded) -> frozenset[tuple[str, How]]:
        """Which lists have a word that is found in `text`, and how."""
        found = set[tuple[str, How]]()
        for start, end, lists in _hits(self._exact, text.chars):
            if text.whole(start, end):
                found |= {(name, How.EXACT) for name in lists}
        for start, end, lists in _hits(self._heard, text.sounds):
            meant = text.chars[start:end]
            found |= {(name, How.HOMOPHONE) for name, words in lists.items() if meant not in words}
        return frozenset(found)


def _automaton(entries: Mapping[str, _Lists]) -> ahocorasick.Automaton:
    automaton = ahocorasick.Automaton()
    for key, lists in entries.items():
        automaton.add_word(key, (len(key), lists))
    automaton.make_automaton()
    return automaton


def _hits(automaton: ahocorasick.Automaton, text: str) -> Iterator[tuple[int, int, _Lists]]:
    if automaton and text:
        for last, (length, lists) in automaton.iter(text):
            yield last + 1 - length, last + 1, lists


def _joined(left: str, right: str) -> bool:
    return left.isascii() and left.isalnum() and right.isascii() and right.isalnum()


def _is_mandarin(word: Folded) -> bool:
    """Whether every character has a syllable of its own."""
    return all(sound != char for sound, char in zip(word.sounds, word.chars, strict=True))


def _sounds(chars: str) -> str:
    """Each character's own sound, but in a phrase the one that it has there."""
    sounds, at, parts = chars.translate(_SOUNDS), 0, list[str]()
    if _turns().isdisjoint(map(add, chars, chars[1:])):
        return sounds
    for last, length in _dictionary().iter_long(chars):
        start = last + 1 - length
        if special := _special(chars[start : last + 1]):
            parts += sounds[at:start], special
            at = last + 1
    return "".join((*parts, sounds[at:]))


@cache
def _turns() -> frozenset[str]:
    """How phrases begin in which a character sounds unlike itself alone; few texts have one."""
    normal = cache(to_normal)
    own = cache(lambda char: normal(str(PINYIN_DICT[ord(char)]).partition(",")[0]))
    return frozenset(
        phrase[:2]
        for phrase, sounds in PHRASES_DICT.items()
        if any(normal(sound[0]) != own(char) for char, sound in zip(phrase, sounds, strict=True))
    )


@cache
def _dictionary() -> ahocorasick.Automaton:
    """pypinyin's phrases; the longest at a place is meant, as by its own `seg`."""
    phrases = ahocorasick.Automaton()
    for phrase in PHRASES_DICT:
        phrases.add_word(phrase, len(phrase))
    phrases.make_automaton()
    return phrases


@lru_cache(1 << 16)
def _special(phrase: str) -> str | None:
    """The sounds of a phrase where they are not those of its characters."""
    sounds = "".join(map(_sign, pypinyin.lazy_pinyin(phrase)))
    known = len(sounds) == len(phrase) and sounds != phrase.translate(_SOUNDS)
    return sounds if known else None


_signs: dict[str, str] = {}
_new_sign = Lock()


def _sign(sound: str) -> str:
    if len(sound) == 1:
        return sound
    with _new_sign:
        return _signs.setdefault(sound, chr(_SYLLABLES_FROM + len(_signs)))


_SOUNDS = _Each(lambda char: _sign(pypinyin.lazy_pinyin(char)[0]))
