"""`voxrelay audit erase` and `certificate`: a person is erased, and what is left to show for it.

Knows options, the question before it and what is printed. Refuses to do the work (`audit.erasure`
does).
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from audit.certificate import faults
from audit.erasure import ERASE, SETTLED, Eraser, Erasure, begin, known, state
from audit.signing import Signer
from relay.spine import Spine
from relay.timer import Timer
from voxrelay.auditing import As, Json, Reason, fail, reading, run, say, site_signer

FOUND = 3
"""The exit code where a certificate is not what was signed."""
_LOOK_SECONDS = 0.2

Person = Annotated[UUID, typer.Option("--user", help="The person's id, as `trail` shows it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing.")]
Unknown = Annotated[
    bool,
    typer.Option(help="Also where nothing here is theirs: what waits for their key ends then."),
]
Wait = Annotated[
    bool, typer.Option(help="Wait for the certificate; the audit's process makes it, too.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="A file for the certificate.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A certificate.")]
Trust = Annotated[str | None, typer.Option(help="Public key in hex of whoever must have signed.")]


def erase(
    user: Person,
    yes: Yes = False,
    unknown: Unknown = False,
    wait: Wait = True,
    out: Out = None,
    actor: As = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Destroy a person's key and all that is kept of them, for good; a second time finishes it."""
    if out is not None and out.exists():
        fail(f"{out} exists.")
    if not yes and not typer.confirm(f"Erase person {user}? Nobody can take that back."):
        fail("Nothing was erased.")
    signer = site_signer()
    access = reading("erase", actor, reason, opened=False, subject=user)

    async def work(spine: Spine) -> Erasure:
        if not unknown and not await known(spine.database, user):
            fail(f"Nothing here was ever theirs: {user}; --unknown erases them all the same.")
        await begin(spine.database, spine.keys, spine.settings.site, user, access.actor)
        return await _rest(spine, signer, user, wait=wait)

    found = run(work, access)
    document = found.certificate
    if out is not None and document is not None:
        out.write_text(json.dumps(document) + "\n")
    say(_line(found), _told(found), as_json=as_json)


def certificate(file: File, trust: Trust = None, as_json: Json = False) -> None:
    """Say whether a certificate of an erasure is as it was signed; needs nothing but the file."""
    try:
        document = json.loads(file.read_bytes())
    except ValueError:
        document = {}
    wrong = list(faults(document, trust))
    said = {"good": not wrong, "faults": wrong, "key": document.get("key")}
    say("\n".join(wrong) or f"As signed by {said['key']}.", said, as_json=as_json)
    sys.exit(FOUND if wrong else 0)


async def _rest(spine: Spine, signer: Signer, person: UUID, *, wait: bool) -> Erasure:
    """See to the rest with whoever else does: for once, or until there is a certificate."""
    handler = Eraser(spine.database, spine.store, spine.settings.site, signer)
    timer = Timer(spine.database, spine.keys, {ERASE: handler})
    while await timer.once():
        continue
    working = asyncio.create_task(timer.run())
    try:
        while True:
            found = await state(spine.database, person)
            assert found is not None
            if found.certificate is not None or not wait:
                return found
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        timer.stop()
        await working


def _told(found: Erasure) -> dict[str, Any]:
    return {
        "person": str(found.person),
        "destroyed": found.destroyed.isoformat(),
        "objects": found.objects,
        "certificate": found.certificate,
    }


def _line(found: Erasure) -> str:
    line = f"The key of {found.person} was destroyed at {found.destroyed}; {found.objects} objects."
    if found.certificate is None:
        seconds = round(SETTLED.total_seconds())
        return f"{line}\nThe certificate follows after {seconds} s: run this again, or the audit."
    return f"{line}\n{found.certificate['statement']}\nsigned by {found.certificate['key']}"
