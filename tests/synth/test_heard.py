"""What the demo voice says is heard by Whisper as it was written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soxr
from pypinyin import lazy_pinyin

from examples.make import RECORDINGS
from synth.kokoro.voice import RATE, _Loaded, join, say

if TYPE_CHECKING:
    from moderation.whisper import Whisper


def sounds(text: str) -> list[str]:
    """Syllables and words: homophones and the two scripts of Chinese count as equal."""
    digits = {"8": "ba", "9": "nine"}
    words = re.findall(r"[a-z]+|\d", " ".join(lazy_pinyin(text.lower())))
    return [digits.get(word, word) for word in words]


def distance(said: list[str], heard: list[str]) -> int:
    """Insertions, deletions and substitutions from one to the other."""
    row = list(range(len(heard) + 1))
    for i, a in enumerate(said, start=1):
        last, row[0] = row[0], i
        for j, b in enumerate(heard, start=1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


@pytest.mark.parametrize(
    ("voice", "text"), [row[1:] for row in RECORDINGS], ids=[row[0] for row in RECORDINGS]
)
async def test_is_heard(loaded: _Loaded, ear: Whisper, voice: str, text: str) -> None:
    samples = join([say(loaded, piece, voice, 1.0) for piece in loaded.reader.pieces(text)])
    hearing = await ear.hear(soxr.resample(samples, RATE, 16_000).astype(np.float32), None)
    assert hearing.language == ("en" if text.isascii() else "zh")
    said = sounds(text)
    assert distance(said, sounds(hearing.text)) <= 0.1 * len(said)
