"""Makes the recordings in this folder: what a user would say into a phone, said by the demo voice.

`python -m examples.make` writes each as mono FLAC with the words that are spoken beside it. They
are synthetic, and say so in their tags.
"""

from __future__ import annotations

from pathlib import Path

from relay import flac
from synth.kokoro.voice import RATE, join, load, say

RECORDINGS = (
    ("mandarin", "jm_kumo", "大家好，欢迎来到我们的学校，希望你们喜欢这里的生活。"),
    (
        "english",
        "jf_alpha",
        "Thank you for calling. The library is open every day from nine in the morning.",
    ),
    ("mixed", "jf_alpha", "这个 app 真的很好用，我每天都用 email 给老师发作业。"),
)
TAGS = {"title": "AI-generated speech", "comment": "Synthetic example, made by examples/make.py"}


def main() -> None:
    """Write every recording and its words."""
    here, loaded = Path(__file__).parent, load(None, threads=2)
    for name, voice, text in RECORDINGS:
        samples = join([say(loaded, piece, voice, 1.0) for piece in loaded.reader.pieces(text)])
        (here / f"{name}.flac").write_bytes(flac.write_flac(flac.Sound(samples, RATE, TAGS)))
        (here / f"{name}.txt").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
