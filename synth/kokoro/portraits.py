"""Makes `portraits.json`, the speaker embedding of each of Kokoro's voices.

Run it when weights or encoder change: `python -m synth.kokoro.portraits`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from synth.kokoro.voice import RATE, VOICES, load, say

_SENTENCES = (
    "今天天气不错，我们去公园散步吧，晚上再一起吃饭。",
    "请把窗户打开，让新鲜的空气进来，然后我们开始上课。",
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "Please leave a message after the tone and we will call you back.",
)


def main() -> None:
    """Speak four sentences in each voice and keep the mean of their embeddings."""
    loaded = load(None, threads=2)
    pieces = [loaded.reader.pieces(sentence)[0] for sentence in _SENTENCES]
    portraits = {}
    for voice in VOICES:
        sounds = [say(loaded, piece, voice, speed=1.0) for piece in pieces]
        mean = np.mean([loaded.encoder.embed(sound, RATE) for sound in sounds], axis=0)
        portraits[voice] = [round(float(x), 4) for x in mean / np.linalg.norm(mean)]
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(p)}" for name, p in portraits.items())
    Path(__file__).with_name("portraits.json").write_text("{\n" + rows + "\n}\n")


if __name__ == "__main__":
    main()
