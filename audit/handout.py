"""What a person may ask for: everything that is kept of them, opened, in one file they can read.

Knows which records and objects are theirs. A zip: a page to begin with, every event of theirs as it
lies in the log, every object under their name, and by what they sign in. A file for us alone, and
none where it could not be made whole. Refuses to tell anything of anybody else.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from sqlalchemy import select

from audit.reading import Eyes, Seen, person_in
from relay.errors import Missing
from relay.keys import PersonKey
from relay.objects.port import Stat
from relay.sealing import unseal
from relay.spine import Spine
from relay.sql.schema import accounts, webhooks
from relay.sweep import person_of
from schemas.events import SpeechReported
from schemas.topics import AFTERWARDS, DEAD, LEDGER, TOPICS

INDEX, ACCOUNT, EVENTS = "index.html", "account.json", "events.jsonl"
_DATED = (1980, 1, 1, 0, 0, 0)
_ENDINGS = {
    "audio/flac": ".flac",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/mp4": ".m4a",
    "application/json": ".json",
}
_ALL = [*(topic.name for topic in (*TOPICS, *AFTERWARDS, *LEDGER)), *DEAD]


@dataclass(frozen=True, slots=True)
class HandedOut:
    """What came of it."""

    path: Path
    events: int
    objects: int


async def hand_out(spine: Spine, person: UUID, target: Path) -> HandedOut:
    """Write the person's own into `target`, which must not exist.

    `PersonErased` where nothing of theirs can be opened any more.
    """
    account = await _account(spine, person, await spine.keys.key(person))
    events = [each async for each in _events(spine, person)]
    files = list[str]()
    with _whole(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        async for key in _objects(spine, person):
            try:
                stat, data = await spine.store.stat(key), await spine.store.get(key)
            except Missing:  # swept meanwhile
                continue
            files.append(_name(stat))
            _add(out, files[-1], data)
        _add(out, ACCOUNT, json.dumps(account, ensure_ascii=False, indent=1).encode())
        lines = [json.dumps(_told(seen), ensure_ascii=False) for seen in events]
        _add(out, EVENTS, "".join(f"{line}\n" for line in lines).encode())
        _add(out, INDEX, "\n".join(_page(person, events, files)).encode())
    return HandedOut(target, len(events), len(files))


@contextmanager
def _whole(target: Path) -> Iterator[IO[bytes]]:
    """A file for us alone, in its place once it is whole, else gone: all in it is opened."""
    draft = target.with_name(f".{target.name}.part")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)


async def _account(spine: Spine, person: UUID, key: PersonKey) -> dict[str, Any]:
    """What they sign in with, and whom they had told of their jobs, opened."""
    async with spine.database.reading() as tx:
        mine = (await tx.execute(select(accounts).where(accounts.c.person == person))).all()
        hooks = (await tx.execute(select(webhooks).where(webhooks.c.person == person))).all()
    return {
        "accounts": [
            {
                "role": row.role,
                "created_at": row.created_at.isoformat(),
                **{name: unseal(key, person, name, value) for name, value in row.sealed.items()},
            }
            for row in mine
        ],
        "webhooks": [unseal(key, row.id, "url", row.sealed["url"]) for row in hooks],
    }


async def _events(spine: Spine, person: UUID) -> AsyncIterator[Seen]:
    eyes = Eyes(spine.keys)
    async for record in spine.log.read(_ALL):
        if person_in(record) == person:
            seen = await eyes.see(record)
            if not (isinstance(seen.event, SpeechReported) and seen.event.shared):
                yield seen  # else somebody else wrote it, about them


async def _objects(spine: Spine, person: UUID) -> AsyncIterator[str]:
    async for stat in spine.store.list(""):
        if person_of(stat.key) == person:
            yield stat.key


def _name(stat: Stat) -> str:
    kind, _, hash_ = stat.key.split("/")
    return f"{kind}/{hash_}{_ENDINGS.get(stat.content_type, '')}"


def _add(out: zipfile.ZipFile, name: str, data: bytes) -> None:
    out.writestr(zipfile.ZipInfo(name, _DATED), data, zipfile.ZIP_DEFLATED)


def _told(seen: Seen) -> dict[str, Any]:
    return {
        "at": seen.record.appended.isoformat(),
        "topic": seen.record.topic,
        "job": seen.record.key,
        "id": str(seen.head.id) if seen.head else None,
        "event": seen.fields,
        "unreadable": seen.why,
    }


def _page(person: UUID, events: Sequence[Seen], files: Sequence[str]) -> Iterator[str]:
    yield "<!doctype html><meta charset=utf-8><title>What is kept of you</title>"
    yield f"<h1>What is kept of you</h1><p>You are known here as {person}."
    yield f"<p>What you sign in with: <a href={ACCOUNT}>{ACCOUNT}</a>."
    yield f"<p>Every event as it lies in the log: <a href={EVENTS}>{EVENTS}</a>."
    yield "<h2>Files</h2><ul>"
    yield from (f'<li><a href="{escape(name)}">{escape(name)}</a>' for name in files)
    yield "</ul>"
    by_job = sorted(events, key=lambda seen: (seen.record.key, seen.record.appended))
    for job, steps in groupby(by_job, key=lambda seen: seen.record.key):
        yield f"<h2>{escape(job)}</h2>"
        for seen in steps:
            shown = json.dumps(
                seen.fields or {"unreadable": seen.why}, ensure_ascii=False, indent=1
            )
            yield f"<h3>{seen.record.appended.isoformat()} {escape(seen.record.topic)}</h3>"
            yield f"<pre>{escape(shown)}</pre>"
