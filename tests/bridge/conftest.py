"""The two ends of a line."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bridge.sides import Side, side


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Side]:
    async with side(tmp_path / "edge") as opened:
        yield opened


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Side]:
    async with side(tmp_path / "cluster") as opened:
        yield opened
