"""The demo voice, loaded once, and what its tests speak with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay import flac
from synth.kokoro.phonemes import Reader
from synth.kokoro.voice import KokoroVoice, _Loaded
from synth.voice import SpeechRequest

EXAMPLES = Path(__file__).parents[2] / "examples"


def recording(name: str) -> flac.Sound:
    """A recording of the examples."""
    return flac.read_flac((EXAMPLES / f"{name}.flac").read_bytes())


def request(text: str, **fields: Any) -> SpeechRequest:
    """A request with the Mandarin example as its prompt."""
    prompt = recording("mandarin")
    given: dict[str, Any] = {
        "request_id": "r",
        "prompt": prompt.samples,
        "prompt_rate": prompt.rate,
        "prompt_id": "p",
    }
    return SpeechRequest(text=text, **{**given, **fields})


@pytest.fixture(scope="session")
def kokoro() -> Iterator[KokoroVoice]:
    voice = KokoroVoice()
    asyncio.run(voice.start())
    yield voice
    asyncio.run(voice.aclose())


@pytest.fixture(scope="session")
def loaded(kokoro: KokoroVoice) -> _Loaded:
    assert kokoro._loaded is not None
    return kokoro._loaded


@pytest.fixture(scope="session")
def reader(loaded: _Loaded) -> Reader:
    return loaded.reader


@pytest.fixture(scope="session")
def read(reader: Reader) -> Callable[[str], str]:
    """Phonemes of a text, pieces joined."""
    return lambda text: " ".join(reader.pieces(text))
