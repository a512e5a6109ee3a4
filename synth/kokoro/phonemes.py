"""Text as Kokoro's phonemes: Mandarin and English in one text, with marks for how to say it.

Knows reading: sentences, polyphone marks `[h][ào]`, CMU phones `[M][IH1][N]`, sound tags such as
`[breath]`. Refuses to know voices and samples.
"""

from __future__ import annotations

import contextlib
import logging
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from synth.kokoro import english, numbers
from synth.voice import Refusal, refuse

PIECE = 220
"""Phonemes that one piece should not exceed: long enough to flow, short enough to take turns."""
LONGEST = 480
"""Phonemes that no piece may exceed; the model takes 510 tokens."""

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\u3007"
_TONED = "āáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜ"
_TAGS = "breath|quick_breath|laughter|noise|cough|sigh|lipsmack|hissing|clucking|accent|mn"
_MARK = re.compile(
    r"\[(?P<initial>zh|ch|sh|[bpmfdtnlgkhjqxzcsryw])\]\[(?P<final>[a-zü" + _TONED + r"]+)\]"
    r"|\[(?P<syllable>[a-zü]*[" + _TONED + r"][a-z]*)\]"
    r"|(?P<phones>(?:\[[A-Z]{1,2}[012]?\])+)"
    r"|(?P<tag>\[(?:" + _TAGS + r")\]|</?(?:strong|laughter)>|<\|[a-z]+\|>)"
)
_CHINESE = re.compile(f"[{_HAN}]")
_SENTENCE = re.compile(
    r"[^。！？!?；;…\n.]+(?:\.(?!\s|$)[^。！？!?；;…\n.]*)*"  # a dot within ends nothing: 3.5
    r"[。！？!?；;….]*[”’\"')）]*"
)
_RUN = re.compile(rf"(?P<han>[{_HAN}]+)|(?P<latin>[A-Za-z](?:[A-Za-z' -]*[A-Za-z])?)|(?P<other>.)")
_SIGNS = {
    "，、,：:": ", ",
    "。．.": ". ",
    "；;": "; ",
    "！!": "! ",
    "？?": "? ",
    "…": "… ",
    "—–": "— ",
    "“《「『【": " “",
    "”》」』】": "” ",
    "（(": " (",
    "）)": ") ",
}
_PUNCTUATION = {ord(sign): spoken for signs, spoken in _SIGNS.items() for sign in signs}
_SPOKEN_SIGNS = frozenset(";:,.!?—…“”() ")
_PAUSE = ", "
_RARE = "The text holds a rare character that this voice cannot read."
_FOREIGN = "This voice reads Chinese and English; the text holds {} letters."
_BREAKS = (", ", "; ", ": ", "— ")

Sounds = Callable[[str], str]


class Reader:
    """Reads text aloud in phonemes. Made once: `load` takes a second or two and 60 MB."""

    def __init__(
        self,
        cut: Callable[[str], list[str]],
        word: Sounds,
        syllable: Sounds,
        lexicon: english.Lexicon,
    ) -> None:
        self._cut, self._word, self._syllable = cut, word, syllable
        self._lexicon = lexicon

    @classmethod
    def load(cls, cache: Path) -> Reader:
        """A reader with its dictionaries; jieba keeps its parsed one in `cache`."""
        with warnings.catch_warnings():
            # jieba's source has escapes that newer Pythons warn about when they compile it.
            warnings.simplefilter("ignore")
            import jieba
            from misaki.zh import ZHG2P
        jieba.setLogLevel(logging.WARNING)
        tokenizer = jieba.Tokenizer()
        with contextlib.suppress(OSError):  # nowhere to keep it: parsed anew at every start
            cache.mkdir(parents=True, exist_ok=True)
            tokenizer.tmp_dir = str(cache)
        tokenizer.initialize()
        return cls(tokenizer.lcut, ZHG2P.word2ipa, ZHG2P.py2ipa, english.Lexicon.load())

    def pieces(self, text: str) -> list[str]:
        """Phonemes of `text`, cut at its sentences into pieces that a model takes at once.

        `BadRecord` with `text_empty` where nothing is left to say, `text_unreadable` where a mark
        or a script has no sound here. No text is lost: what is not refused is in the pieces.
        """
        text = normalise(text)
        read = numbers.mandarin if _CHINESE.search(text) else numbers.english
        sentences = [self.phonemes(s, read) for s in _SENTENCE.findall(text)]
        spoken = [s for s in sentences if any(c.isalpha() for c in s)]
        if not spoken:
            raise refuse(Refusal.TEXT_EMPTY)
        return list(_pack(spoken))

    def phonemes(self, sentence: str, read: Sounds = numbers.english) -> str:
        """Phonemes of one sentence; `read` reads its figures where no word says in what tongue."""
        if _CHINESE.search(sentence):
            read = numbers.mandarin
        elif re.search("[A-Za-z]", sentence):
            read = numbers.english
        parts: list[str] = []
        last = 0
        for mark in _MARK.finditer(sentence):
            parts.append(self._plain(read(sentence[last : mark.start()])))
            parts.append(self._mark(mark))
            last = mark.end()
        parts.append(self._plain(read(sentence[last:])))
        return _tidy(" ".join(parts))

    def _mark(self, mark: re.Match[str]) -> str:
        if mark["tag"]:
            return _PAUSE if "breath" in mark["tag"] or mark["tag"] == "[sigh]" else ""
        if mark["phones"]:
            sounds = english.phones(re.findall(r"\[(\w+)\]", mark["phones"]))
        else:
            sounds = self._pinyin(mark["syllable"] or mark["initial"] + mark["final"])
        if sounds is None:
            raise refuse(Refusal.TEXT_UNREADABLE, "A mark in the text names no sound.")
        return sounds

    def _pinyin(self, syllable: str) -> str | None:
        try:
            return _joined(self._syllable(syllable))
        except (ValueError, AssertionError, KeyError):  # how misaki says that it is no syllable
            return None

    def _plain(self, text: str) -> str:
        return " ".join(self._run(run) for run in _RUN.finditer(english.plain(text)))

    def _run(self, run: re.Match[str]) -> str:
        if run["han"]:
            return " ".join(self._mandarin(word) for word in self._cut(run["han"]))
        if run["latin"]:
            return self._lexicon.read(run["latin"])
        sign = run["other"].translate(_PUNCTUATION)
        if any(c.isalpha() for c in sign):
            raise refuse(Refusal.TEXT_UNREADABLE, _FOREIGN.format(script(sign)))
        return sign if set(sign) <= _SPOKEN_SIGNS else " "

    def _mandarin(self, word: str) -> str:
        try:
            return _joined(self._word(word))
        except (ValueError, AssertionError, KeyError):  # a character without a reading
            if len(word) == 1:
                raise refuse(Refusal.TEXT_UNREADABLE, _RARE) from None
            return "".join(self._mandarin(character) for character in word)


def normalise(text: str) -> str:
    """One spelling for one sign: full-width letters narrow, accents composed, no dot that ends no
    sentence."""
    text = unicodedata.normalize("NFKC", text).replace("\r", "\n")
    text = re.sub(r"\b(Mr|Mrs|Ms|Dr|Prof|vs|etc)\.", r"\1", text)
    return re.sub(r"\b(?:[A-Za-z]\.){2,}", lambda m: m[0].replace(".", "").upper(), text)


def script(text: str) -> str:
    """Name of the script of the first letter in `text`: what may be said of a text in clear."""
    letter = next(c for c in text if c.isalpha())
    return unicodedata.name(letter, "UNKNOWN").split()[0].capitalize()


def _joined(sounds: str) -> str:
    """Without the ties that Kokoro's vocabulary does not know."""
    return sounds.replace("\u032f", "")


def _tidy(phonemes: str) -> str:
    phonemes = re.sub(r"\s+", " ", phonemes)
    phonemes = re.sub(r"\s+([;:,.!?…)”])", r"\1", phonemes)
    return re.sub(r"([;:,.!?])(?:[;:,]| )*(?=[;:,.!?])", "", phonemes).lstrip(" ,;:.!?").rstrip()


def _pack(sentences: list[str]) -> Iterator[str]:
    piece = ""
    for part in (p for s in sentences for p in _short(s)):
        if piece and len(piece) + len(part) + 1 > PIECE:
            yield piece
            piece = ""
        piece = f"{piece} {part}".strip()
    yield piece


def _short(sentence: str) -> Iterator[str]:
    """`sentence` cut at commas near `PIECE`, else at words, else anywhere within `LONGEST`."""
    while len(sentence) > PIECE + PIECE // 2:
        cut = max(sentence.rfind(sign, PIECE // 3, PIECE) for sign in _BREAKS)
        if cut < 0 and len(sentence) <= LONGEST:
            break
        if cut < 0:
            cut = max(sentence.rfind(" ", PIECE // 3, LONGEST), 0) or LONGEST - 1
        yield sentence[: cut + 1].strip()
        sentence = sentence[cut + 1 :].strip()
    if sentence:
        yield sentence
