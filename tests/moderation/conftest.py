"""The recordings of `examples/`, as the ear takes them."""

from __future__ import annotations

from pathlib import Path

from moderation import audio
from moderation.hearing import Samples

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> Samples:
    """A recording of `examples/` at 16 kHz."""
    return audio.read((EXAMPLES / f"{name}.flac").read_bytes())
