"""`voxrelay analytics` and `voxrelay sql`: taking events out, and asking.

Knows options and how answers are printed. Refuses to do the work.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import Misconfigured
from relay.log.open import open_log
from relay.settings import Settings
from voxrelay.auditing import Json, Since, fail, moment, say

if TYPE_CHECKING:
    from analytics.export import Exported
    from analytics.questions import Answer

app = typer.Typer(no_args_is_help=True, help="Taking events out.")


@app.callback()
def analytics() -> None:
    """Taking events out."""


@app.command()
def export(
    to: Annotated[Path, typer.Option(help="Folder of the export; goes on where it stopped.")],
    as_json: Json = False,
) -> None:
    """Write what happened since the last time as Parquet, a folder a day; each event once."""
    done = asyncio.run(_export(to))
    told = {"records": done.records, "files": done.files, "to": str(to)}
    say(f"{done.records} events in {done.files} files added to {to}", told, as_json=as_json)


async def _export(to: Path) -> Exported:
    with packages():
        from analytics.export import export as write
    log = open_log(Settings())
    try:
        return await write(log, to)
    finally:
        await log.close()


def sql(
    question: Annotated[str, typer.Argument(help="SQL over the views: docs/analytics.md.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="An export; what the log holds if not given.")
    ] = None,
    since: Since = None,
    as_json: Json = False,
) -> None:
    """Ask in SQL what happened; there is no personal field to ask for."""
    with packages():
        from analytics.questions import NotAnswered

    try:
        answer = asyncio.run(_ask(question, source, since))
    except NotAnswered as wrong:
        fail(str(wrong))
    if as_json:
        rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        print(json.dumps(rows, ensure_ascii=False, default=str))
    else:
        print("\n".join(_lines(answer)))


async def _ask(question: str, source: Path | None, since: str | None) -> Answer:
    from analytics.definitions import TOPICS
    from analytics.export import files
    from analytics.questions import ask, gathered

    if source is not None:
        return ask(question, files(source), styles())
    log = open_log(Settings())
    try:
        events = await gathered(log.read(TOPICS, moment(since)))
    finally:
        await log.close()
    return ask(question, events, styles())


@contextmanager
def packages() -> Iterator[None]:
    """`Misconfigured` where an installation lacks what an analyst needs."""
    try:
        yield
    except ImportError as lacking:
        raise Misconfigured(
            f"{lacking.name} is missing: install the packages of the group `analytics` (make env)"
        ) from None


def styles() -> list[tuple[str, str, str]]:
    """Each name of a preset style, its id, and what it changes."""
    from schemas.styles import BY_NAME

    return [(name, style.id, style.kind.value) for name, style in BY_NAME.items()]


def _lines(answer: Answer) -> Sequence[str]:
    cells = [list(answer.columns), *([_cell(value) for value in row] for row in answer.rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(answer.columns))]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
