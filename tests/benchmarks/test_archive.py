"""What is archived in a benchmark is what it then reads."""

from __future__ import annotations

from pathlib import Path

from benchmarks.archive.__main__ import run


async def test_every_event_is_archived_and_read_from_there(tmp_path: Path) -> None:
    found = await run(tmp_path, 1024, 1)
    assert found["archived"]["events"] == 1024
    assert found["archived"]["objects"] >= 4 + 2, "a part for each topic, and two hours"
    assert found["rounds"][0]["ratio_by_cpu"] > 0
