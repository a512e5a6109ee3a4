"""`voxrelay access`: who may call the gateway, as what, and until when.

Knows how a verb is spelled and what is printed. Refuses to decide (`ingest.accounts` does). A key
and a link are printed once, to standard output, and kept nowhere.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from ingest.accounts import access_keys, links, sessions, signing
from ingest.accounts.access_keys import PREFIX, AccessKey, Wanted
from ingest.accounts.roles import Role, Scope
from ingest.problems import Problem
from ingest.settings import IngestSettings
from relay.spine import Spine
from relay.sql.database import Transaction
from voxrelay.auditing import Json, fail, run, say

app = typer.Typer(no_args_is_help=True, help="Keys, sessions, and the keys that sign tokens.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, or what it is for.")],
    role: Annotated[Role, typer.Option(help="What its bearer is to the relay.")] = Role.USER,
    scope: Annotated[list[Scope] | None, typer.Option(help="All of the role's if none.")] = None,
    person: Annotated[
        UUID | None, typer.Option(help="Whose jobs it sees; else somebody new.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Until it expires; else never.")] = None,
    per_minute: Annotated[float | None, typer.Option(min=0, help="Jobs a minute.")] = None,
    burst: Annotated[float | None, typer.Option(min=1, help="Jobs at once after a rest.")] = None,
    daily_seconds: Annotated[float | None, typer.Option(min=0, help="Speech a day.")] = None,
    concurrent: Annotated[int | None, typer.Option(min=0, help="Jobs worked on at once.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key for a server and print it, this once."""
    limits = {
        "per_minute": per_minute,
        "burst": burst,
        "daily_seconds": daily_seconds,
        "concurrent": concurrent,
    }
    wanted = Wanted(
        name=name[:100],
        role=role,
        scopes=frozenset(scope) if scope else None,
        person=person,
        life=None if days is None else timedelta(days=days),
        limits={key: float(value) for key, value in limits.items() if value is not None},
    )

    async def made(spine: Spine) -> tuple[AccessKey, str]:
        key, handed = await spine.database.run(lambda tx: access_keys.create(tx, wanted))
        return key, handed.spelled(PREFIX)

    try:
        key, spelled = run(made)
    except Problem as wrong:
        fail(wrong.told("en"))
    said = {**_told(key), "key": spelled}
    line = f"{spelled}\n\nKept nowhere: store it now. Its id is {key.id}."
    say(line, said, as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Show every key there ever was, without what proves it."""

    async def every(spine: Spine) -> list[AccessKey]:
        async with spine.database.reading() as tx:
            return list(await access_keys.listed(tx))

    found = run(every)
    if as_json:
        print(json.dumps([_told(key) for key in found], ensure_ascii=False))
        return
    for key in found:
        print(_line(key))
    if not found:
        print("There is no key.")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Id of the key.")], as_json: Json = False
) -> None:
    """End a key: it is refused from the next request on."""
    if not run(lambda spine: spine.database.run(lambda tx: access_keys.revoke(tx, key))):
        fail("There is no such key, or it has ended.")
    say(f"{key} is refused from now on.", {"revoked": key}, as_json=as_json)


@app.command()
def link(as_json: Json = False) -> None:
    """Print a link that signs the operator in, once and within the hour."""

    async def made(spine: Spine) -> str:
        async def work(tx: Transaction) -> str:
            person = await spine.keys.person_of_name(tx, links.OPERATOR)
            return await links.first(tx, person) or await links.make(tx, person)

        base = spine.settings.public_url or IngestSettings().url
        return links.spelled(base, await spine.database.run(work))

    url = run(made)
    say(url, {"url": url}, as_json=as_json)


@app.command("sign-out")
def sign_out(
    person: Annotated[UUID, typer.Argument(help="Whose sessions end.")], as_json: Json = False
) -> None:
    """End every session of a person, on every device."""
    count = run(lambda spine: spine.database.run(lambda tx: sessions.end_all(tx, person)))
    say(f"Sessions ended: {count}", {"ended": count}, as_json=as_json)


@app.command("rotate-tokens")
def rotate_tokens(
    at_once: Annotated[
        bool, typer.Option("--at-once", help="The former key got out: refuse its tokens now.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Sign access tokens with a new key; those signed before are good until they expire."""
    overlap = timedelta(0) if at_once else timedelta(minutes=IngestSettings().token_minutes)
    kid = run(lambda spine: spine.database.run(lambda tx: signing.rotate(tx, overlap)))
    say(f"Tokens are signed with {kid} from now on.", {"kid": kid}, as_json=as_json)


def _told(key: AccessKey) -> dict[str, Any]:
    def moment(name: str) -> str | None:
        value = getattr(key, name)
        return None if value is None else str(value.isoformat())

    return {
        "id": key.id,
        "name": key.name,
        "person": str(key.person),
        "role": key.role.value,
        "scopes": sorted(key.scopes),
        "limits": dict(key.limits),
        **{name: moment(name) for name in ("created_at", "expires_at", "revoked_at")},
    }


def _line(key: AccessKey) -> str:
    ended = f"  revoked {key.revoked_at.isoformat()}" if key.revoked_at else ""
    scopes = ",".join(sorted(key.scopes))
    return f"{key.id}  {key.role.value:<8}  {scopes}  {key.person}  {key.name}{ended}"
