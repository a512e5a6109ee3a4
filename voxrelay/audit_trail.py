"""`voxrelay audit trail`: one job from its acceptance to its end, or the jobs that fit a question.

Knows how a trail is printed. Refuses to read the log by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audit.reading import Seen
from audit.search import Contradiction, Wanted, search
from audit.search import told as row_of
from relay.spine import Spine
from schemas.states import State
from voxrelay.auditing import (
    As,
    Json,
    Reason,
    Sealed,
    Since,
    Until,
    User,
    fail,
    moment,
    reading,
    run_history,
)

if TYPE_CHECKING:  # imported when called: word lists and their dictionaries come with it
    from audit.trace import Found
    from audit.trail import Trail


def trail(
    job: Annotated[str | None, typer.Argument(help="Id of a job; without one, search.")] = None,
    user: User = None,
    since: Since = None,
    until: Until = None,
    verdict: Annotated[State | None, typer.Option(help="What the job came to.")] = None,
    rule: Annotated[str | None, typer.Option(help="A rule that fired.")] = None,
    refused: Annotated[
        bool, typer.Option("--refused", help="What the doors turned away, instead of jobs.")
    ] = False,
    sealed: Sealed = False,
    actor: As = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Tell everything about one job, or find jobs by person, time, verdict and rule.

    A search prints a line (with --json a document) for each record that fits, as it is found.
    """
    from audit.trail import trail as follow

    if job is None:
        wanted = _wanted(user, moment(since), moment(until), verdict, rule, refused)
        asked = {"since": since, "until": until, "verdict": verdict, "rule": rule}
        asked |= {"refused": "yes" if refused else None}
        access = reading("search", actor, reason, opened=not sealed, subject=user, scope=asked)
        run_history(lambda spine: _search(spine, wanted, opens=not sealed, as_json=as_json), access)
        return
    if any((user, since, until, verdict, rule, refused)):
        raise typer.BadParameter("a job is told whole: give its id alone, or search without one")
    access = reading("trail", actor, reason, opened=not sealed, job=job)
    found = run_history(lambda spine: follow(spine, job, opens=not sealed), access)
    if found is None:
        fail("No job of that id was ever accepted here.")
    if as_json:
        print(json.dumps(found.told, ensure_ascii=False))
        return
    print("\n".join(_lines(found)))


def _wanted(*asked: Any) -> Wanted:
    try:
        return Wanted(*asked)
    except Contradiction as why:
        raise typer.BadParameter(str(why)) from None


def trace(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A sound file.")],
    since: Since = None,
    until: Until = None,
    sealed: Sealed = False,
    actor: As = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Find the job that a file came from, by the label in it or by its sound; tell its trail.

    Without a label it is compared with all that was delivered between --since and --until; with
    --sealed the label alone is asked.
    """
    from audit.trace import Untraceable, find, read_label

    data = file.read_bytes()
    asked = {"since": since, "until": until, "sha256": sha256(data).hexdigest()}
    job = read_label(data).produce_id
    access = reading("trace", actor, reason, opened=not sealed, job=job, scope=asked)
    try:
        found = run_history(
            lambda spine: find(spine, data, moment(since), moment(until), opens=not sealed), access
        )
    except Untraceable as why:
        fail(str(why))
    if as_json:
        print(json.dumps(_traced(found), ensure_ascii=False))
        return
    others = [f"Its sound was delivered by {job}." for job in found.others]
    print(_how(found), *others, "", *_lines(found.trail), sep="\n")


def _traced(found: Found) -> dict[str, Any]:
    return {
        "job": found.trail.job,
        "sha256": found.file.sha256,
        "exact": found.exact,
        "labelled": found.labelled,
        "likeness": asdict(found.likeness) if found.likeness else None,
        "others": list(found.others),
        "trail": found.trail.told,
    }


def _how(found: Found) -> str:
    """How sure it is that the job delivered the file."""
    if found.exact:
        return "This is the file that was delivered, to the byte."
    label = "These are not the bytes that were delivered, but its label names the job"
    if (like := found.likeness) is None:
        return f"{label}. Only that says so: there is nothing, or too little, to compare it with."
    over = f"{like.errors:.1%} of its fingerprint differ over {like.seconds:.1f} s"
    if not found.labelled:
        return f"It bears no label that is known here, but sounds like this job's speech: {over}."
    if like.same:
        return f"{label}, and it sounds like its speech: {over}."
    return f"{label}, and it sounds otherwise: {over}. Its label is somebody else's."


async def _search(spine: Spine, wanted: Wanted, *, opens: bool, as_json: bool) -> None:
    async for seen in search(spine, wanted, opens=opens):
        row = _refused(seen) if wanted.refused else row_of(seen)
        line = _flat_line(row) if wanted.refused else _line(row)
        print(json.dumps(row, ensure_ascii=False) if as_json else line, flush=True)


def _refused(seen: Seen) -> dict[str, Any]:
    person = str(seen.head.person) if seen.head else None
    return {"at": seen.record.appended.isoformat(), "person": person, **seen.fields}


def _flat_line(row: dict[str, Any]) -> str:
    return "  ".join(str(value) for value in row.values() if value not in (None, ""))


def _line(row: dict[str, Any]) -> str:
    why = ", ".join(row["rules"]) or row["code"] or ""
    head = "  ".join((row["at"], row["job"], str(row["person"]), row["topic"], why))
    return f"{head}\n    {_shown(row['text'])}"


def _lines(found: Trail) -> Iterator[str]:
    told = found.told
    yield f"job       {told['job']}"
    yield f"person    {told['person']}   (personal fields: {told['personal']})"
    yield f"accepted  {told['accepted']} at {told['site']}"
    yield f"state     {told['state']}" + (_differs(found) or "")
    for step in told["steps"]:
        yield ""
        place = f"partition {step['partition']}, offset {step['offset']}"
        yield f"{step['at']}  {step['topic']}  ({place})  {step['id'] or 'no id'}"
        for part in ("unreadable", "dead", "decided", "headers", "event"):
            if part in step:
                inside = step[part] if part == "event" else {part: step[part]}
                yield from (f"    {name:<28} {value}" for name, value in _flat(inside))
    for title in ("objects", "policies", "erasures"):
        yield f"\n{title}"
        yield from (f"    {' '.join(_pairs(each))}" for each in told[title])


def _differs(found: Trail) -> str | None:
    if found.view in (found.state, None):
        return None
    return f"   (the job view shows: {found.view})"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Names with dots and what stands under them; what is not there is left out."""
    if isinstance(value, dict) and set(value) not in ({"erased"}, {"sealed"}):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for n, inner in enumerate(value, start=1):
            yield from _flat(inner, f"{name}.{n}")
    elif value is not None:
        yield name, _shown(value)


def _shown(value: Any) -> str:
    return f"({next(iter(value))})" if isinstance(value, dict) else str(value)


def _pairs(each: dict[str, Any]) -> Iterator[str]:
    return (f"{name}={value}" for name, value in _flat(each))
