"""Parquet: each event once, whatever dies and whenever; and questions in SQL over it."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from analytics.columns import SCHEMA, row
from analytics.definitions import TOPICS
from analytics.export import MANIFEST, export, files, open_folder
from analytics.questions import NotAnswered, ask, gathered
from relay.errors import Misconfigured
from relay.log.open import open_log
from relay.log.port import Log
from schemas.events import EVENTS
from schemas.sealed import sealed_fields
from tests.analytics.events import append, messages, records
from tests.analytics.test_counting import log_of
from tests.audit.relay import TEXTS, Lived

Id = tuple[str, int, int]


def written(path: Path) -> list[Id]:
    """Every event in the files that count."""
    found: list[Id] = []
    for name in files(path):
        columns = pq.read_table(name, columns=["topic", "partition", "offset"], partitioning=None)
        found += zip(*(columns[c].to_pylist() for c in columns.column_names), strict=True)
    return found


async def held(log: Log) -> list[Id]:
    """Every event in the log."""
    return [(r.topic, r.partition, r.offset) async for r in log.read(TOPICS)]


async def test_an_export_killed_at_any_moment_has_each_event_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    draw = random.Random(3)
    async with log_of(tmp_path) as log:
        for run in range(2):
            await append(log, messages(400, seed=run))
            words = ["-m", "tests.analytics.export_process", str(tmp_path), str(out)]
            process = await asyncio.create_subprocess_exec(
                sys.executable, *words, stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            for _ in range(draw.randrange(2, 12)):  # it says each file before it is moved
                await process.stdout.readline()
            process.kill()
            await process.wait()
        done = await export(log, out)
        assert done.records
        assert sorted(written(out)) == sorted(await held(log))
        again = await export(log, out)
        assert (again.records, again.files) == (0, 0)
    lying = {str(p) for p in out.glob("day=*/*.parquet")}
    assert lying == set(files(out)), "what was begun and not said was written again"


async def test_records_that_are_no_events_and_personal_fields(tmp_path: Path) -> None:
    personal = {name for event in EVENTS for name in sealed_fields(event)}
    assert personal
    assert not personal & set(SCHEMA.names)
    for record in records(messages(80)):
        assert "sealed" not in json.dumps(row(record), default=str)
    (broken,) = records(messages(1))
    object.__setattr__(broken, "value", b"{")
    assert row(broken)["offset"] == broken.offset
    assert "job" not in row(broken)


def test_a_folder_is_held_by_one_and_is_ours(tmp_path: Path) -> None:
    with (
        open_folder(tmp_path),
        pytest.raises(Misconfigured, match="another process"),
        open_folder(tmp_path),
    ):
        pass
    with pytest.raises(Misconfigured, match="no export"):
        files(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(Misconfigured, match="no manifest"), open_folder(tmp_path):
        pass


async def test_an_export_and_the_log_answer_the_same(lived: Lived, tmp_path: Path) -> None:
    log = open_log(lived.settings)
    await export(log, tmp_path)
    live = await gathered(log.read(TOPICS))
    await log.close()
    for question in (
        "select count(*), count(distinct id) from events",
        "select ended_as, count(*) from jobs group by all order by all",
        "select rule, verdict, count(*) from rules group by all order by all",
    ):
        assert ask(question, live, []) == ask(question, files(tmp_path), [])
    jobs = dict(ask("select job, ended_as from jobs", live, []).rows)
    assert jobs.keys() == set(lived.jobs.values())
    assert jobs[lived.jobs["delivered"]] == "delivered"
    assert jobs[lived.jobs["quiet"]] == "rejected"
    assert jobs[lived.jobs["held"]] is None
    told = ask("select * from events", live, []).rows
    assert not any(text in str(told) for text in TEXTS.values())


@pytest.mark.parametrize(
    "question",
    [
        "select * from read_text('/etc/hostname')",
        "copy events to '{out}/stolen.csv'",
        "attach '{out}/other.db'",
        "set enable_external_access = true",
        "select text from events",
        "selec",
    ],
)
def test_a_question_reaches_nothing_but_the_views(tmp_path: Path, question: str) -> None:
    import pyarrow as pa

    with pytest.raises(NotAnswered):
        ask(question.format(out=tmp_path), pa.Table.from_pylist([], schema=SCHEMA), [])
    assert not list(tmp_path.iterdir())
