"""English words as Kokoro's phonemes: a lexicon, its regular endings, and letters for the rest.

Knows American pronunciation. Refuses to know Mandarin, numbers and punctuation.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from importlib.resources import files

_VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻɐ")
_SIBILANTS = frozenset("szʃʒʧʤ")
_VOICELESS = frozenset("ptkfθ") | frozenset("sʃʧ")
_SUFFIXES = {
    "ly": "li",
    "er": "əɹ",
    "est": "ᵻst",
    "ness": "nəs",
    "less": "ləs",
    "ful": "fəl",
    "ment": "mənt",
    "able": "əbəl",
}
_PHONES = (
    "AA:ɑ AE:æ AH:ʌ AO:ɔ AW:W AY:I EH:ɛ ER:ɜɹ EY:A IH:ɪ IY:i OW:O OY:Y UH:ʊ UW:u "
    "B:b CH:ʧ D:d DH:ð F:f G:ɡ HH:h JH:ʤ K:k L:l M:m N:n NG:ŋ P:p R:ɹ S:s SH:ʃ T:t TH:θ "
    "V:v W:w Y:j Z:z ZH:ʒ"
)
_ARPABET: dict[str, str] = dict(pair.split(":") for pair in _PHONES.split())
_LETTERS = str.maketrans(
    {"’": "'", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe"}
    | {"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i", "ð": "d", "þ": "th"}
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+(?:'[a-z]+)?|[A-Z]")


class Lexicon:
    """Words and how they sound; keys are lower case but for names and letters."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words

    @classmethod
    def load(cls) -> Lexicon:
        """The lexicon that misaki ships as data."""
        words: dict[str, str] = {}
        for name in ("us_silver.json", "us_gold.json"):
            entries = json.loads((files("misaki.data") / name).read_text(encoding="utf-8"))
            words.update((word, _default(sound)) for word, sound in entries.items())
        return cls(words)

    def read(self, text: str) -> str:
        """Phonemes of a run of plain Latin letters, words kept apart by spaces."""
        if text.isupper() and len(text.split()) > 2:  # a shout, not a row of abbreviations
            text = text.lower()
        words = [w for chunk in re.split(r"[\s-]+", text) for w in self._parts(chunk)]
        sounds: list[str] = []
        for word in reversed(words):
            sounds.append(self._in_context(word, sounds[-1] if sounds else ""))
        return " ".join(reversed(sounds))

    def _parts(self, chunk: str) -> list[str]:
        """`ChatGPT` as two words; what is known as it stands, as one."""
        return [chunk] if chunk in self._words else _WORD.findall(chunk)

    def _in_context(self, word: str, following: str) -> str:
        vowel = following.lstrip("ˈˌ")[:1] in _VOWELS and following != ""
        weak = {"the": "ði" if vowel else "ðə", "a": "ɐ", "to": "tʊ" if vowel else "tə"}
        return weak.get(word) or self.word(word)

    def word(self, word: str) -> str:
        """Phonemes of one word; a word nobody knows is spelled."""
        if word.isupper() and len(word) <= 3:
            return self._words.get(word) or self._letters(word)
        return (
            self._known(word)
            or self._inflected(word.lower())
            or self._compound(word.lower())
            or self._letters(word)
        )

    def _known(self, word: str) -> str | None:
        forms = (word, word.lower(), word.capitalize())
        return next((self._words[form] for form in forms if self._words.get(form)), None)

    def _inflected(self, word: str) -> str | None:
        for stem, ending in _stems(word):
            sound = self._known(stem) if len(stem) > 1 else None
            if sound:
                return sound + _ending(sound, ending)
        return None

    def _compound(self, word: str) -> str | None:
        for cut in range(len(word) - 3, 2, -1):
            head, tail = self._known(word[:cut]), self._known(word[cut:])
            if head and tail:
                return head + tail.replace("ˈ", "ˌ")
        return None

    def _letters(self, word: str) -> str:
        return "".join(self._words[letter] for letter in word.upper() if letter in self._words)


def phones(names: list[str]) -> str | None:
    """Phonemes of CMU phones such as `M IH1 N`; None where one is no such phone."""
    sounds = []
    for name in names:
        phone, stress = (name[:-1], name[-1]) if name[-1] in "012" else (name, "")
        if phone not in _ARPABET:
            return None
        sound = "ə" + _ARPABET[phone][1:] if stress == "0" and phone in ("AH", "ER") else ""
        sounds.append({"1": "ˈ", "2": "ˌ"}.get(stress, "") + (sound or _ARPABET[phone]))
    return "".join(sounds)


def _default(sound: str | Mapping[str, str]) -> str:
    return sound if isinstance(sound, str) else sound["DEFAULT"]


def plain(text: str) -> str:
    """In the 26 letters and straight apostrophes, as far as letters are Latin."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _stems(word: str) -> Iterator[tuple[str, str]]:
    """Every (stem, ending) that spelling allows for `word`, likeliest first."""
    if word.endswith("'s"):
        yield word[:-2], "s"
    if word.endswith(("ies", "ied")):
        yield word[:-3] + "y", word[-1]
    if word.endswith("s"):
        yield word[:-1], "s"
        yield word[:-2] if word.endswith("es") else "", "s"
    for written, ending in (("ed", "d"), ("ing", "ing"), *((s, s) for s in _SUFFIXES)):
        if word.endswith(written):
            stem = word[: -len(written)]
            yield stem, ending
            yield stem + "e", ending
            if len(stem) > 2 and stem[-1] == stem[-2]:
                yield stem[:-1], ending
            if stem.endswith("i"):
                yield stem[:-1] + "y", ending


def _ending(sound: str, ending: str) -> str:
    """How `ending` sounds after `sound`."""
    last = sound[-1]
    if ending == "s":
        return "ᵻz" if last in _SIBILANTS else "s" if last in _VOICELESS else "z"
    if ending == "d":
        return "ᵻd" if last in "td" else "t" if last in _VOICELESS else "d"
    return _SUFFIXES.get(ending, "ɪŋ")
