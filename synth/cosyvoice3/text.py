"""Text as users write it to pieces the model can speak: normalised, marked, split.

Numbers, dates and units become words (wetext); marks pass untouched; long text is cut near eighty
units at the ends of sentences, and nothing of it is lost. Knows no tokens and no sound.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from threading import Lock

from wetext import Normalizer

from . import marks
from .errors import Refused

NEAR = 80
SHORT = 20
HARD = NEAR + SHORT

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_SENTENCE = re.compile(
    r"[^。？！；?!;…\n.]*(?:\.(?!\s|$)[^。？！；?!;…\n.]*)*[。？！；?!;…\n.]*[\"”’'」』)）]*\s*"
)
_CLAUSE = re.compile(r"[^，、：,:]*[，、：,:]*\s*")
_NUMBERED = re.compile(r"[a-z]{1,6}[0-9]|[A-Z]{1,2}[0-9]")
_TONES = "\u0304\u0301\u030c\u0300"
_ENDS = "。？！；：.?!;:…，,、"


class Normaliser:
    """Writes out what is written short. Loads its grammars once; safe to share by threads."""

    def __init__(self) -> None:
        self._chinese = Normalizer(lang="zh", operator="tn", remove_erhua=False)
        self._english = Normalizer(lang="en", operator="tn")
        self._lock = Lock()

    def __call__(self, text: str) -> str:
        """The text as it is to be read. Refused if nothing is left, or a mark is not known."""
        parts = list(_parts(unicodedata.normalize("NFC", text.strip())))
        plain = "".join(part for part, is_mark in parts if not is_mark)
        write_out = self._writer(plain)
        joined = "".join(part if is_mark else write_out(part) for part, is_mark in parts)
        joined = joined.strip()
        if not speakable(joined):
            raise Refused("text_empty", "nothing is left to say after normalisation")
        return joined if joined[-1] in _ENDS else joined + ("。" if _HAN.search(plain) else ".")

    def _writer(self, plain: str) -> Callable[[str], str]:
        if _KANA.search(plain):
            return lambda part: re.sub(r"\s+", " ", part)
        if _HAN.search(plain):
            return lambda part: _chinese(self._written(self._chinese, part))
        return lambda part: self._written(self._english, part)

    def _written(self, grammar: Normalizer, part: str) -> str:
        """One stretch between marks; the blanks at its two ends stay."""
        body = re.sub(r"\s+", " ", part)
        core = body.strip()
        if not any(c.isalnum() for c in core):
            return body
        with self._lock:
            written = str(grammar.normalize(core))
        lead, tail = body[: len(body) - len(body.lstrip())], body[len(body.rstrip()) :]
        return lead + written + tail


def _parts(text: str) -> Iterable[tuple[str, bool]]:
    """Stretches of plain text and of marks, in order; pinyin marks are spelled out."""
    if "<|" in text:
        raise Refused("text_unreadable", "the text cannot hold control words of the model")
    at = 0
    for match in marks.MARK.finditer(text):
        spelled = marks.spell(match[0])
        if match.start() > at:
            yield text[at : match.start()], False
        if spelled:
            yield "".join(spelled), True
        elif _means_a_sound(match[0]):
            raise Refused("text_unreadable", f"no sound is known for the mark {match[0]}")
        else:
            yield match[0][1:-1], False
        at = match.end()
    if at < len(text):
        yield text[at:], False


def _means_a_sound(mark: str) -> bool:
    """Whether a mark has a tone or a stress, as pinyin and phones do, and text rarely."""
    letters = unicodedata.normalize("NFD", mark[1:-1])
    bare = "".join(c for c in letters if c not in _TONES)
    toned = len(bare) < len(letters)
    return bool(_NUMBERED.fullmatch(bare)) or (toned and bare.isalpha() and bare.isascii())


def _chinese(text: str) -> str:
    """Chinese as the model saw it: no blanks between characters, no brackets, Chinese stops."""
    text = text.replace("²", "平方").replace("³", "立方").replace(" - ", "，").replace("——", "，")
    text = re.sub(r"[（）【】()`]", "", text)
    text = re.sub(r"(?<![A-Za-z0-9])\.|\.(?![A-Za-z0-9])", "。", text)
    return re.sub(r"(?<![!-~]) | (?![!-~])", "", text)


def speakable(text: str) -> bool:
    """Whether anything in the text makes a sound."""
    return any(c.isalnum() for c in text)


def split(text: str, measure: Callable[[str], int] | None = None) -> list[str]:
    """Pieces near eighty units that join to the text again.

    A unit is a character or a mark in text with Chinese in it, else what ``measure`` counts.
    """
    count = units if measure is None or _HAN.search(text) else measure
    pieces: list[str] = []
    size = 0
    for part in _small_parts(text, count):
        length = count(part)
        full = size > SHORT and size + length > NEAR
        if pieces and not full:
            pieces[-1] += part
            size += length
        else:
            pieces.append(part)
            size = length
    if len(pieces) > 1 and (count(pieces[-1]) < SHORT or not speakable(pieces[-1])):
        tail = pieces.pop()
        pieces[-1] += tail
    return pieces


def units(text: str) -> int:
    """Characters, each mark counted as one."""
    return len(marks.MARK.sub("m", text))


def _small_parts(text: str, count: Callable[[str], int]) -> Iterable[str]:
    """Sentences; of those that are too long, clauses; of those, stretches."""
    for sentence in _cut(_SENTENCE, text):
        if count(sentence) <= NEAR:
            yield sentence
            continue
        for clause in _cut(_CLAUSE, sentence):
            yield from [clause] if count(clause) <= HARD else _stretches(clause)


def _cut(pattern: re.Pattern[str], text: str) -> list[str]:
    """Matches one after another, a match never ending inside a mark."""
    parts: list[str] = []
    for match in pattern.finditer(text):
        if not match[0]:
            continue
        open_mark = parts and parts[-1].rfind("[") > parts[-1].rfind("]")
        if open_mark:
            parts[-1] += match[0]
        else:
            parts.append(match[0])
    return parts


def _stretches(text: str) -> Iterable[str]:
    """At most eighty words or characters at a time: nobody put a stop anywhere."""
    atoms = re.findall(rf"{marks.MARK.pattern}|[A-Za-z0-9'’]+\s*|\s+|.", text, re.DOTALL)
    held: list[str] = []
    size = 0
    for atom in atoms:
        if size >= NEAR:
            yield "".join(held)
            held, size = [], 0
        held.append(atom)
        # A written word weighs about as much as two characters.
        size += 2 if atom[0].isascii() and atom[0].isalnum() else 1
    yield "".join(held)
