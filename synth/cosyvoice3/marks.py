"""Marks a text may carry, and which of them are words of the model's own vocabulary.

The order of VOCABULARY is a fact of the released weights: a mark's number is its place here,
counted from the end of the base vocabulary. Users may write pinyin of a syllable in one mark
(``[hào]``, ``[hao4]``); the model has initials and finals apart.
"""

# ruff: noqa: SIM905 - these lists are meant to be read by people
from __future__ import annotations

import re
import unicodedata

END_OF_PROMPT = "<|endofprompt|>"
SOUNDS = (
    "[breath] <strong> </strong> [noise] [laughter] [cough] [clucking] [accent] [quick_breath]"
    " <laughter> </laughter> [hissing] [sigh] [vocalized-noise] [lipsmack] [mn]"
).split()

_ARPABET = (
    "AA* AE* AH* AO* AW* AY* B CH D DH EH* ER* EY* F G HH IH* IY* JH K L M N NG OW* OY* P R S SH"
    " T TH UH* UW* V W Y Z ZH"
).split()
_FINALS = (
    "a ai an ang ao e ei en eng i ian in ing iu o ong ou u uang ue un uo"
    " ià iàn iàng iào iá ián iáng iáo iè ié iòng ióng iù iú iā iān iāng iāo iē iě iōng iū iǎ iǎn"
    " iǎng iǎo iǒng iǔ"
    " uà uài uàn uàng uá uái uán uáng uè ué uì uí uò uó uā uāi uān uāng uē uě uī uō uǎ uǎi uǎn uǎng"
    " uǐ uǒ vè"
    " à ài àn àng ào á ái án áng áo è èi èn èng èr é éi én éng ér ì ìn ìng í ín íng ò òng òu ó óng"
    " óu ù ùn ú ún ā āi ān āng āo ē ēi ēn ēng ě ěi ěn ěng ěr ī īn īng ō ōng ōu ū ūn ǎ ǎi ǎn ǎng ǎo"
    " ǐ ǐn ǐng ǒ ǒng ǒu ǔ ǔn ǘ ǚ ǜ"
).split()
_INITIALS = "b c ch d f g h j k l m n p q r s sh t w x y z zh".split()


def _phones() -> list[str]:
    stressed = ([p[:-1] + s for s in ("", "0", "1", "2")] for p in _ARPABET if p.endswith("*"))
    by_vowel = {group[0]: group for group in stressed}
    return [f"[{q}]" for p in _ARPABET for q in by_vowel.get(p.rstrip("*"), [p])]


PHONES = _phones()
PINYIN = [f"[{part}]" for part in sorted([*_FINALS, *_INITIALS])]
VOCABULARY = [END_OF_PROMPT, *SOUNDS, "<|endofsystem|>", *PHONES, *PINYIN]
KNOWN = frozenset([*SOUNDS, *PHONES, *PINYIN])
MARK = re.compile(r"\[[^\[\]\s]{1,24}\]|</?(?:strong|laughter)>")

_SYLLABLE = re.compile(r"(zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])?([a-zü]+)([1-5])?")
_TONES = {"1": "\u0304", "2": "\u0301", "3": "\u030c", "4": "\u0300", "5": ""}


def spell(mark: str) -> list[str] | None:
    """A mark as words of the vocabulary; None if it is not a mark of this model.

    ``[h]``, ``[breath]`` stand for themselves, ``[hào]`` and ``[hao4]`` for ``[h][ào]``.
    """
    mark = unicodedata.normalize("NFC", mark)
    if mark in KNOWN:
        return [mark]
    plain, tone = _tone_apart(mark[1:-1])
    match = _SYLLABLE.fullmatch(plain)
    if not match:
        return None
    initial, final = match[1], _toned(match[2], match[3] or tone)
    parts = [f"[{part}]" for part in (initial, final) if part]
    return parts if all(part in KNOWN for part in parts) else None


def _tone_apart(syllable: str) -> tuple[str, str]:
    """(``hao``, ``4``) of ``hào``; no tone found gives the fifth."""
    tones = {accent: digit for digit, accent in _TONES.items() if accent}
    decomposed = unicodedata.normalize("NFD", syllable)
    digit = next((tones[c] for c in decomposed if c in tones), "5")
    bare = "".join(c for c in decomposed if c not in tones)
    return unicodedata.normalize("NFC", bare), digit


def _toned(final: str, tone: str) -> str:
    """The accent where pinyin puts it: on a or e, on the o of ou, else on the last vowel."""
    final = final.replace("ü", "v")
    vowels = [i for i, c in enumerate(final) if c in "aeiouv"]
    if not vowels or tone == "5":
        return final
    strong = [i for i in vowels if final[i] in "ae"] or [
        i for i in vowels if final[i : i + 2] == "ou"
    ]
    at = (strong or vowels[-1:])[0]
    # The vocabulary writes ü as v before a letter and as ü under an accent.
    letter = "ü" if final[at] == "v" else final[at]
    accented = unicodedata.normalize("NFC", letter + _TONES[tone])
    return final[:at] + accented + final[at + 1 :]
