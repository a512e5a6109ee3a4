"""`voxrelay audit`: what waits for a person, and that person's word on it.

Knows how a verb is spelled and what is printed. Refuses to decide.
"""

from __future__ import annotations

import json
from datetime import timedelta
from getpass import getuser
from typing import Annotated, Any

import typer

from audit import held as prompts
from relay.spine import Spine
from voxrelay import audit_archive, dead
from voxrelay.audit_erase import certificate, erase
from voxrelay.audit_export import export, key, verify
from voxrelay.audit_replay import replay
from voxrelay.audit_trail import trace, trail
from voxrelay.auditing import Json, fail, reading, run, say

app = typer.Typer(no_args_is_help=True, help="What people do with the log.")
held = typer.Typer(no_args_is_help=True, help="Prompts that wait for a person.")
app.add_typer(held, name="held")
app.add_typer(dead.app, name="dead")
app.add_typer(audit_archive.app, name="archive")
app.command()(trail)
app.command()(trace)
app.command()(replay)
app.command()(export)
app.command()(verify)
app.command()(erase)
app.command()(certificate)
app.add_typer(key, name="key")

Job = Annotated[str, typer.Argument(help="Id of the job.")]
Note = Annotated[str | None, typer.Option(help="Why; sealed, for the record.")]


@held.command("list")
def held_list(as_json: Json = False) -> None:
    """Show what waits, for how long, until when, and the reasons."""
    rows = run(_held_rows, reading("held", None, None, opened=True))
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        print(f"{row['job']}  {_age(row)}  {', '.join(row['rules'])}\n    {row['text']}")
    if not rows:
        print("Nothing waits.")


@held.command()
def approve(job: Job, note: Note = None, as_json: Json = False) -> None:
    """Let the prompt be spoken."""
    _review(job, note, approved=True, as_json=as_json)


@held.command()
def reject(job: Job, note: Note = None, as_json: Json = False) -> None:
    """Refuse the prompt."""
    _review(job, note, approved=False, as_json=as_json)


def _age(row: dict[str, Any]) -> str:
    waits = timedelta(seconds=row["age_seconds"])
    return f"since {row['since']} ({waits})  ends by itself at {row['until'] or 'no time yet'}"


async def _held_rows(spine: Spine) -> list[dict[str, Any]]:
    now = spine.database.now()
    return [
        {
            "job": found.job,
            "since": found.since.isoformat(),
            "until": found.until.isoformat() if found.until else None,
            "age_seconds": round((now - found.since).total_seconds()),
            "text": found.prompt.text if found.prompt else None,
            "transcript": found.prompt.transcript if found.prompt else None,
            "recording": found.prompt.recording.key if found.prompt else None,
            "rules": [r.rule for r in found.prompt.verdict.reasons] if found.prompt else [],
        }
        async for found in prompts.waiting(spine)
    ]


def _review(job: str, note: str | None, *, approved: bool, as_json: bool) -> None:
    async def decide(spine: Spine) -> bool:
        return await prompts.review(spine, job, getuser(), approved=approved, note=note)

    if not run(decide):
        fail("No prompt of that job waits; somebody may have been quicker.")
    line = "Approved." if approved else "Rejected."
    say(line, {"job": job, "approved": approved}, as_json=as_json)
