"""`voxrelay audit dead`: records no stage could handle, and a person's word on them.

Knows how a verb is spelled and what is printed. Refuses to decide (`audit.dead` does).
"""

from __future__ import annotations

import json
from getpass import getuser
from typing import Annotated, Any

import typer

from audit import dead as letters
from audit.dead import Filter
from relay.brake import pulled, release
from relay.spine import Spine
from voxrelay.auditing import Json, Reason, fail, reading, run, say

app = typer.Typer(no_args_is_help=True, help="Records that no stage could handle.")

Letter = Annotated[str | None, typer.Argument(help="Id of a dead letter.")]
Group = Annotated[str | None, typer.Option(help="Those of this group.")]
Code = Annotated[str | None, typer.Option(help="Those with this code.")]
Topic = Annotated[str | None, typer.Option(help="Those from this topic.")]
Job = Annotated[str | None, typer.Option(help="Those of this job.")]
All = Annotated[bool, typer.Option("--all", help="All there are.")]


@app.command("list")
def list_(
    group: Group = None,
    code: Code = None,
    topic: Topic = None,
    job: Job = None,
    as_json: Json = False,
) -> None:
    """Show what waits, with why and when: however many, one at a time."""

    async def tell(spine: Spine) -> None:
        count = 0
        async for found in letters.waiting(spine, Filter(None, group, code, topic, job)):
            print((",\n" if count else "[\n") + _json(found) if as_json else _line(found), end="")
            count += 1
        if as_json:
            print("\n]" if count else "[]")
        elif not count:
            print("Nothing waits.")

    run(tell)


@app.command()
def show(
    letter: Annotated[str, typer.Argument(help="Id of a dead letter.")],
    opened: Annotated[bool, typer.Option("--open", help="Open personal fields.")] = False,
    reason: Reason = None,
    as_json: Json = True,
) -> None:
    """Show one letter whole; personal fields are sealed unless you open them, which is recorded."""
    access = reading("dead", None, reason, opened=True, scope={"letter": letter})

    async def one(spine: Spine) -> dict[str, Any] | None:
        async for found in letters.waiting(spine, Filter(letter)):
            value = await letters.payload(spine, found) if opened else found.payload()
            return {**found.told(), "payload": value}
        return None

    if (said := run(one, access if opened else None)) is None:
        fail("No dead letter of that id waits.")
    print(json.dumps(said, ensure_ascii=False, indent=2))


@app.command()
def redrive(
    letter: Letter = None,
    group: Group = None,
    code: Code = None,
    topic: Topic = None,
    job: Job = None,
    every: All = False,
    as_json: Json = False,
) -> None:
    """Send letters to their stage again, once each, however often this is run or killed."""
    chosen = _chosen(letter, group, code, topic, job, every=every)
    count = run(lambda spine: letters.redrive(spine, chosen, getuser()))
    _done(letter, count, f"Sent again: {count}", {"redriven": count}, as_json=as_json)


@app.command()
def discard(
    letter: Letter = None,
    group: Group = None,
    code: Code = None,
    topic: Topic = None,
    job: Job = None,
    every: All = False,
    as_json: Json = False,
) -> None:
    """Give letters up; their jobs end as failed."""
    chosen = _chosen(letter, group, code, topic, job, every=every)
    count = run(lambda spine: letters.discard(spine, chosen, getuser()))
    _done(letter, count, f"Given up: {count}", {"discarded": count}, as_json=as_json)


@app.command()
def stopped(as_json: Json = False) -> None:
    """Show the stages that stopped because nearly every record became a dead letter."""

    async def rows(spine: Spine) -> list[dict[str, str]]:
        async with spine.database.reading() as tx:
            return [{"group": h.group, "since": h.at.isoformat()} for h in await pulled(tx)]

    found = run(rows)
    if as_json:
        print(json.dumps(found))
        return
    for row in found:
        print(f"{row['group']}  since {row['since']}")
    if not found:
        print("No stage has stopped.")


@app.command()
def resume(
    group: Annotated[str, typer.Argument(help="The stage that stopped.")], as_json: Json = False
) -> None:
    """Let a stage that stopped go on: its processes notice within seconds."""

    async def let(spine: Spine) -> bool:
        return await spine.database.run(lambda tx: release(tx, group))

    if not run(let):
        fail(f"{group} has not stopped.")
    say(f"{group} goes on.", {"resumed": group}, as_json=as_json)


def _chosen(
    letter: str | None,
    group: str | None,
    code: str | None,
    topic: str | None,
    job: str | None,
    *,
    every: bool,
) -> Filter:
    chosen = Filter(letter, group, code, topic, job)
    if chosen == Filter() and not every:
        raise typer.BadParameter("name a letter, a --group, --code, --topic or --job, or --all")
    return chosen


def _done(
    letter: str | None, count: int, line: str, said: dict[str, int], *, as_json: bool
) -> None:
    if letter is not None and not count:
        fail("No dead letter of that id waits; somebody may have been quicker.")
    say(line, said, as_json=as_json)


def _json(found: letters.Waiting) -> str:
    return json.dumps(found.told(), ensure_ascii=False)


def _line(found: letters.Waiting) -> str:
    letter = found.letter
    times = f", {letter.times} times" if letter.times > 1 else ""
    return (
        f"{found.id}  {letter.record.appended.isoformat()}  {letter.topic} for {letter.group}  "
        f"{letter.code}{times}\n"
    )
