"""What the commands of `voxrelay audit` share: options, how they run, how they end.

Knows spellings of times and exit codes. Refuses to know what any command does.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from getpass import getuser
from typing import Annotated, NoReturn, TypeVar
from uuid import UUID

import typer

from audit.access import Access, record
from audit.history import with_archive
from audit.settings import AuditSettings, key_file
from audit.signing import Signer, load_signer
from relay.settings import Settings
from relay.spine import Spine, open_spine

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
User = Annotated[UUID | None, typer.Option(help="Only of this person (their id).")]
Since = Annotated[
    str | None, typer.Option(help="From this time on: 2026-03-01, 2026-03-01T10:00Z, or 7d, 12h.")
]
Until = Annotated[str | None, typer.Option(help="Up to this time, itself excluded.")]
As = Annotated[str | None, typer.Option("--as", help="Who reads; the system's user if not given.")]
Reason = Annotated[str | None, typer.Option(help="Why; sealed, for the record.")]
Sealed = Annotated[bool, typer.Option("--sealed", help="Open no personal field.")]

_AGO = re.compile(r"(\d+)([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def run(work: Callable[[Spine], Awaitable[T]], access: Access | None = None) -> T:
    """What `work` answers over the spine that the environment names, once `access` is recorded."""

    async def opened() -> T:
        async with open_spine(Settings()) as spine:
            if access is not None:
                await record(spine, access)
            return await work(spine)

    return asyncio.run(opened())


def run_history(work: Callable[[Spine], Awaitable[T]], access: Access) -> T:
    """As `run`, with what was archived read as one log with the topics."""
    return run(lambda spine: work(with_archive(spine, AuditSettings())), access)


def reading(
    action: str,
    actor: str | None,
    reason: str | None,
    *,
    opened: bool,
    job: str | None = None,
    subject: UUID | None = None,
    scope: Mapping[str, object] | None = None,
) -> Access:
    """What the record says of a command; options that were not given are left out."""
    said = {name: str(value) for name, value in (scope or {}).items() if value not in (None, False)}
    return Access(actor or getuser(), action, opened, reason, job, subject, said)


def site_signer() -> Signer:
    """The site's signing key; made where no setting names one."""
    given = AuditSettings()
    return load_signer(key_file(given, Settings()), make=given.key_file is None)


def say(line: str, said: Mapping[str, object], *, as_json: bool) -> None:
    """Print what was done."""
    print(json.dumps(said, ensure_ascii=False) if as_json else line)


def fail(why: str, code: int = 1) -> NoReturn:
    """Say why nothing was done, and end."""
    print(why, file=sys.stderr)
    sys.exit(code)


def moment(text: str | None) -> datetime | None:
    """The time that an option names; without a zone it is UTC."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time: 2026-03-01, 2026-03-01T10:00Z, 7d"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
