"""One ear with real weights for the whole run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from moderation.whisper import Whisper


@pytest.fixture(scope="session")
def ear() -> Iterator[Whisper]:
    """Whisper base. One thread: tests share the machine."""
    from moderation.whisper import open_whisper

    whisper = open_whisper("base", None, device="cpu", threads=1, batch=8)
    yield whisper
    asyncio.run(whisper.close())
