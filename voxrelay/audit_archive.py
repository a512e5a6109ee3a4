"""`voxrelay audit archive`: which hours of the log are archived, and whether they are whole.

Knows options, exit codes and what is printed. Refuses to archive by itself (`audit.archive` does).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import typer

from audit.archive import ArchiveDamaged, NotAsPublished, open_archive
from audit.lines import HOUR
from audit.roots import published
from relay.objects.kinds import ARCHIVE
from relay.spine import Spine
from schemas.envelope import format_time
from voxrelay.auditing import Json, Since, moment, run

FOUND = 3
"""The exit code where an hour is not what was put there."""

app = typer.Typer(no_args_is_help=True, help="Closed hours of the log, in the object store.")


@dataclass(slots=True)
class Done:
    """Hours that were gone through, and what is wrong with some of them."""

    hours: int = 0
    wrong: dict[datetime, str] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"hours": self.hours, "wrong": {format_time(h): w for h, w in self.wrong.items()}}


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Show which hours are archived, how much room they take, and which are not."""
    found = run(_listed)
    if as_json:
        print(json.dumps(found))
        return
    print(f"{found['hours']} hours are archived, in {found['bytes']} bytes.")
    for title, name in (("archived  ", "archived"), ("NOT       ", "lacking")):
        for each in found[name]:
            print(f"{title}  {each['from']} to {each['to']}  ({each['hours']} hours)")


@app.command()
def add(since: Since = None, as_json: Json = False) -> None:
    """Archive every hour that was published and is not archived yet, as the topics have it.

    The audit process does so by itself where VOXRELAY_AUDIT_ARCHIVE says so. An hour of which the
    topics have dropped records is left out, and named.
    """
    begin = moment(since)
    done = run(lambda spine: _add(spine, begin))
    _say(f"{done.hours} hours were archived.", "not as published, not archived", done, as_json)


@app.command()
def check(as_json: Json = False) -> None:
    """Read all that is archived; exit with 3 where an hour is gone, altered, or not as published.

    Needs no topic but that of the roots.
    """
    done = run(_check)
    _say(f"{done.hours} hours are whole.", "DAMAGED", done, as_json)
    sys.exit(FOUND if done.wrong else 0)


def _say(line: str, wrong: str, done: Done, as_json: bool) -> None:
    if as_json:
        print(json.dumps(done.told()))
        return
    for hour, why in done.wrong.items():
        print(f"{wrong}  {format_time(hour)}  {why}")
    print(line)


async def _listed(spine: Spine) -> dict[str, Any]:
    hours = await open_archive(spine).hours()
    roots = await published(spine.log, spine.settings.site, None)
    sizes = [stat.size async for stat in spine.store.list(f"{ARCHIVE}/")]
    return {
        "hours": len(hours),
        "bytes": sum(sizes),
        "archived": [*_runs(hours)],
        "lacking": [*_runs(sorted(roots.keys() - set(hours)))],
    }


def _runs(hours: Sequence[datetime]) -> Iterator[dict[str, Any]]:
    """Hours that follow one another, each run as one."""
    begin = 0
    for n, hour in enumerate(hours, start=1):
        if n == len(hours) or hours[n] != hour + HOUR:
            first, last = format_time(hours[begin]), format_time(hour + HOUR)
            yield {"from": first, "to": last, "hours": n - begin}
            begin = n


async def _add(spine: Spine, since: datetime | None) -> Done:
    archive, done = open_archive(spine), Done()
    for hour, root in sorted((await published(spine.log, spine.settings.site, since)).items()):
        try:
            done.hours += await archive.add(spine.log, root)
        except NotAsPublished as why:
            done.wrong[hour] = str(why)
    return done


async def _check(spine: Spine) -> Done:
    archive, done = open_archive(spine), Done()
    roots = await published(spine.log, spine.settings.site, None)
    for hour in [*await archive.hours()]:
        try:
            root = await archive.root(hour)
            if (lost := await archive.lost_before(hour)) is not None:
                done.wrong[lost] = "it is gone"
        except ArchiveDamaged as why:
            done.wrong[hour] = why.what
            continue
        if roots.get(hour, root) != root:
            done.wrong[hour] = "it is whole, but was published otherwise"
        else:
            done.hours += 1
    return done
