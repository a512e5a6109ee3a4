"""One ear with real weights for the whole run, and the recordings of `examples/`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from moderation import audio
from moderation.hearing import Samples
from moderation.whisper import Whisper, open_whisper

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> Samples:
    """A recording of `examples/` at 16 kHz."""
    return audio.read((EXAMPLES / f"{name}.flac").read_bytes())


@pytest.fixture(scope="session")
def ear() -> Iterator[Whisper]:
    """Whisper base. One thread: tests share the machine."""
    whisper = open_whisper("base", None, device="cpu", threads=1, batch=8)
    yield whisper
    asyncio.run(whisper.close())
