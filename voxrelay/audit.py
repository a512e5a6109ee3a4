"""`voxrelay audit`: what waits for a person, and that person's word on it.

Knows how a verb is spelled and what is printed. Refuses to decide.
"""

from __future__ import annotations

import json
from getpass import getuser
from typing import Annotated, Any

import typer

from audit import dead as letters
from audit import held as prompts
from relay.spine import Spine
from voxrelay.audit_export import export, key, verify
from voxrelay.audit_replay import replay
from voxrelay.audit_trail import trail
from voxrelay.auditing import Json, fail, reading, run

app = typer.Typer(no_args_is_help=True, help="What people do with the log.")
held = typer.Typer(no_args_is_help=True, help="Prompts that wait for a person.")
dead = typer.Typer(no_args_is_help=True, help="Records that no stage could handle.")
app.add_typer(held, name="held")
app.add_typer(dead, name="dead")
app.command()(trail)
app.command()(replay)
app.command()(export)
app.command()(verify)
app.add_typer(key, name="key")

Job = Annotated[str, typer.Argument(help="Id of the job.")]
Note = Annotated[str | None, typer.Option(help="Why; sealed, for the record.")]
Letter = Annotated[str | None, typer.Argument(help="Id of a dead letter.")]
Group = Annotated[str | None, typer.Option(help="All of this group.")]
Code = Annotated[str | None, typer.Option(help="All with this code.")]
All = Annotated[bool, typer.Option("--all", help="All there are.")]


@held.command("list")
def held_list(as_json: Json = False) -> None:
    """Show what waits, with the reasons."""
    rows = run(_held_rows, reading("held", None, None, opened=True))
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        print(f"{row['job']}  since {row['since']}  {', '.join(row['rules'])}\n    {row['text']}")
    if not rows:
        print("Nothing waits.")


@held.command()
def approve(job: Job, note: Note = None) -> None:
    """Let the prompt be spoken."""
    _review(job, note, approved=True)


@held.command()
def reject(job: Job, note: Note = None) -> None:
    """Refuse the prompt."""
    _review(job, note, approved=False)


@dead.command("list")
def dead_list(as_json: Json = False) -> None:
    """Show what waits, with why and when."""

    async def rows(spine: Spine) -> list[dict[str, Any]]:
        return [found.told() async for found in letters.waiting(spine)]

    found = run(rows)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for row in found:
        print(f"{row['id']}  {row['at']}  {row['topic']} for {row['group']}  {row['code']}")
    if not found:
        print("Nothing waits.")


@dead.command("show")
def dead_show(letter: Annotated[str, typer.Argument(help="Id of a dead letter.")]) -> None:
    """Show one letter whole; personal fields stay sealed."""

    async def one(spine: Spine) -> dict[str, Any] | None:
        async for found in letters.waiting(spine):
            if str(found.id) == letter:
                return {**found.told(), "payload": found.payload()}
        return None

    found = run(one)
    if found is None:
        fail("No dead letter of that id waits.")
    print(json.dumps(found, ensure_ascii=False, indent=2))


@dead.command()
def redrive(
    letter: Letter = None, group: Group = None, code: Code = None, every: All = False
) -> None:
    """Send letters to their stage again, once each."""
    chosen = _chosen(letter, group, code, every=every)
    print(f"Sent again: {run(lambda spine: letters.redrive(spine, chosen, getuser()))}")


@dead.command()
def discard(
    letter: Letter = None, group: Group = None, code: Code = None, every: All = False
) -> None:
    """Give letters up; their jobs end as failed."""
    chosen = _chosen(letter, group, code, every=every)
    print(f"Given up: {run(lambda spine: letters.discard(spine, chosen, getuser()))}")


async def _held_rows(spine: Spine) -> list[dict[str, Any]]:
    return [
        {
            "job": found.job,
            "since": found.since.isoformat(),
            "text": found.prompt.text if found.prompt else None,
            "transcript": found.prompt.transcript if found.prompt else None,
            "recording": found.prompt.recording.key if found.prompt else None,
            "rules": [r.rule for r in found.prompt.verdict.reasons] if found.prompt else [],
        }
        async for found in prompts.waiting(spine)
    ]


def _review(job: str, note: str | None, *, approved: bool) -> None:
    async def decide(spine: Spine) -> bool:
        return await prompts.review(spine, job, getuser(), approved=approved, note=note)

    if not run(decide):
        fail("No prompt of that job waits; somebody may have been quicker.")
    print("Approved." if approved else "Rejected.")


def _chosen(
    letter: str | None, group: str | None, code: str | None, *, every: bool
) -> letters.Chosen:
    if not (letter or group or code or every):
        raise typer.BadParameter("name a letter, a --group, a --code, or --all")

    def chosen(found: letters.Waiting) -> bool:
        return (
            (letter is None or str(found.id) == letter)
            and (group is None or found.letter.group == group)
            and (code is None or found.letter.code == code)
        )

    return chosen
