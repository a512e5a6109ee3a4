"""`voxrelay audit export`, `verify` and `key`: evidence taken out, and looked at anywhere.

Knows options, exit codes and how findings are printed. Refuses to do the work; `verify` opens
nothing of the relay.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from audit.access import Access
from audit.settings import AuditSettings, key_file
from audit.signing import Signer, fingerprint, load_signer, told
from audit.signing import rotate as put_new_key
from audit.verify import Report
from audit.verify import verify as look
from relay.errors import PersonErased
from relay.settings import Settings
from schemas.envelope import format_time
from voxrelay.auditing import (
    As,
    Json,
    Reason,
    Until,
    fail,
    moment,
    reading,
    run_history,
    say,
    site_signer,
)

if TYPE_CHECKING:
    from audit.testimony import Witnessed

FOUND = 3
"""The exit code where a bundle is not what was exported."""

Out = Annotated[Path, typer.Option("--out", "-o", help="The bundle to write; must not exist.")]
Objects = Annotated[bool, typer.Option(help="With every object that an event names.")]
Bundle = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A bundle.")]
Trust = Annotated[
    str | None,
    typer.Option(help="Public key in hex: the signer's, or an earlier one of the site."),
]

Ask = Annotated[bool, typer.Option("--witness", help="Ask VOXRELAY_AUDIT_WITNESS, too.")]

key = typer.Typer(no_args_is_help=True, help="The key that signs evidence.")


def export(
    out: Out,
    since: Annotated[
        str | None, typer.Option(help="From the hour of this time on; as for trail.")
    ] = None,
    until: Until = None,
    objects: Objects = False,
    user: Annotated[
        UUID | None, typer.Option(help="All that is kept of this person, opened, as a zip.")
    ] = None,
    actor: As = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Write the closed hours of that time into a bundle that proves itself.

    With --user instead: what that person may ask for, opened, with a page to begin with.
    """
    from audit.export import export as write
    from audit.roots import closed_hours

    if user is not None:
        _hand_out(
            user, out, reading("export", actor, reason, opened=True, subject=user), as_json=as_json
        )
        return
    begin, end = moment(since), moment(until)
    if begin is None:
        raise typer.BadParameter("--since says from when on, or --user whose data")
    signer = site_signer()
    wanted = closed_hours(begin, end, datetime.now(UTC))
    asked = {"since": since, "until": until, "objects": objects}
    access = reading("export", actor, reason, opened=False, scope=asked)
    found = run_history(lambda spine: write(spine, signer, wanted, out, objects=objects), access)
    if as_json:
        print(json.dumps(found.told, ensure_ascii=False))
        return
    print(
        f"{found.path}: {found.records} records of {found.hours} hours, {found.objects} objects\n"
        f"chain  {found.chain}\n"
        f"key    {found.key} ({fingerprint(found.key)})"
    )


def _hand_out(user: UUID, out: Path, access: Access, as_json: bool) -> None:
    from audit.handout import hand_out

    if out.exists():
        fail(f"{out} exists.")
    try:
        found = run_history(lambda spine: hand_out(spine, user, out), access)
    except PersonErased:
        fail(f"{user} was erased: nothing of theirs can be opened.")
    said = {"path": str(found.path), "events": found.events, "objects": found.objects}
    say(f"{out}: {found.events} events, {found.objects} files", said, as_json=as_json)


def verify(
    bundle: Bundle, trust: Trust = None, witness: Ask = False, as_json: Json = False
) -> None:
    """Say whether a bundle is what was exported, and if not, where; needs nothing but the file."""
    report = look(bundle, trust)
    witnessed = asyncio.run(_testimony(report)) if witness else None
    if as_json:
        print(json.dumps(_document(report, witnessed), ensure_ascii=False))
    else:
        print("\n".join(_lines(report, witnessed)))
    sys.exit(0 if report.good else FOUND)


async def _testimony(report: Report) -> Sequence[Witnessed]:
    from audit.testimony import ask
    from audit.witness import open_witness

    found = open_witness(AuditSettings())
    if found is None:
        fail("VOXRELAY_AUDIT_WITNESS names no witness to ask.")
    return await ask(found, report)


@key.command("show")
def key_show(as_json: Json = False) -> None:
    """Show the public key, made now if there is none, and the keys before it."""
    _tell(site_signer(), as_json=as_json)


@key.command("new")
def key_new(as_json: Json = False) -> None:
    """Make the key where there is none yet."""
    path = key_file(AuditSettings(), Settings())
    if path.exists():
        fail(f"{path} exists; `voxrelay audit key rotate` puts another in its place.")
    _tell(load_signer(path, make=True), as_json=as_json)


@key.command("rotate")
def key_rotate(as_json: Json = False) -> None:
    """Put a new key in place of the old one; each signs that it was so, and the old one is gone."""
    _tell(put_new_key(key_file(AuditSettings(), Settings()), datetime.now(UTC)), as_json=as_json)


def _tell(signer: Signer, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(told(signer)))
        return
    for each in signer.links:
        print(f"{each.old}  until {each.at}")
    print(f"{signer.public}  in use ({fingerprint(signer.public)})")


def _document(report: Report, witnessed: Sequence[Witnessed] | None) -> dict[str, object]:
    return {
        "good": report.good,
        "key": report.key,
        "trusted": report.trusted,
        "hours": len(report.roots),
        "records": report.records,
        "witnessed": None if witnessed is None else [_told(each) for each in witnessed],
        "findings": [
            {"what": each.what, "where": each.where, "detail": each.detail}
            for each in report.findings
        ],
    }


def _told(each: Witnessed) -> dict[str, str | None]:
    locked = format_time(each.locked) if each.locked else None
    return {"hour": format_time(each.hour), "left": format_time(each.left), "locked": locked}


def _lines(report: Report, witnessed: Sequence[Witnessed] | None) -> Iterator[str]:
    yield from (f"NOT AS EXPORTED  {each}" for each in report.findings)
    if report.good:
        yield f"As exported: {report.records} records of {len(report.roots)} hours."
    if report.key is not None:
        yield f"signed by  {report.key}"
    for each in witnessed or ():
        locked = f"locked until {each.locked}" if each.locked else "NOT locked: no proof"
        yield f"witnessed  {each.hour}, left at {each.left}, {locked}"
    if witnessed is not None and (alone := len(report.roots) - len(witnessed)):
        yield f"{alone} hours were not witnessed: only the signer vouches for them."
    if report.good and report.trusted is None:
        yield "Whose key that is, this cannot tell: name the site's with --trust."
