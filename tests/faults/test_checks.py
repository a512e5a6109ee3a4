"""The checks see what they are there for: each harm done to a clean house is found."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import delete, select, update

from relay.datagrams import Datagrams
from relay.letters import REDRIVE
from relay.log.port import Message, Record
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql.schema import job_events, jobs, outbox
from tests.faults.__main__ import Fired
from tests.faults.checks import CHAIN, Findings, check, check_events

pytestmark = pytest.mark.timeout(900)  # the house is built and hurt by whichever test comes first


@pytest.fixture(scope="module")
def clean(sqlite_run: Fired) -> Fired:
    """A house after all is quiet."""
    assert sqlite_run.said["wrong"] == [], sqlite_run.said
    return sqlite_run


@pytest.fixture(scope="module")
def records(clean: Fired) -> list[Record]:
    async def read() -> list[Record]:
        async with open_spine(clean.settings) as spine:
            return [record async for record in spine.log.read(CHAIN)]

    return asyncio.run(read())


def seen(records: list[Record], accepted: set[str]) -> Findings:
    found = Findings()
    check_events(records, accepted, found)
    return found


def marked(record: Record, group: str) -> Record:
    return replace(record, offset=10_000, headers=(*record.headers, (REDRIVE, group.encode())))


def test_what_is_whole_is_clean(clean: Fired, records: list[Record]) -> None:
    assert seen(records, clean.accepted).clean
    assert seen([*records, marked(records[0], "moderation")], clean.accepted).clean


def test_a_lost_end_and_a_second_one_are_seen(clean: Fired, records: list[Record]) -> None:
    end = next(record for record in records if record.topic == "speech-delivered")
    assert seen([r for r in records if r is not end], clean.accepted).lost == {end.key}
    headers = [(n, str(uuid4()).encode() if n == "ce_id" else v) for n, v in end.headers]
    other = replace(end, headers=tuple(headers))
    assert seen([*records, other], clean.accepted).duplicated == {end.key}


def test_an_event_twice_is_seen_unless_it_is_marked(clean: Fired, records: list[Record]) -> None:
    assert len(seen([*records, records[0]], clean.accepted).duplicated) == 1
    altered = marked(replace(records[0], value=b"{}"), "moderation")
    for copy in (marked(records[0], "nobody"), altered):
        assert "redriven" in seen([*records, copy], clean.accepted).wrong[0]


def test_a_stranger_and_a_turned_order_are_seen(clean: Fired, records: list[Record]) -> None:
    accepted = clean.accepted - {records[0].key}
    assert "never answered" in seen(records, accepted).wrong[0]
    end = next(record for record in records if record.topic == "speech-delivered")
    early = replace(end, appended=min(record.appended for record in records))
    turned = [early if record is end else record for record in records]
    assert "out of order" in seen(turned, clean.accepted).wrong[0]


Harm = Callable[[Spine], Awaitable[None]]


async def lose_an_object(spine: Spine) -> None:
    async for stat in spine.store.list("audio/"):
        await spine.store.delete(stat.key)
        return


async def change_an_object(spine: Spine) -> None:
    async for stat in spine.store.list("audio/"):
        await spine.store.delete(stat.key)
        await spine.store.put(stat.key, b"other", stat.content_type)
        return


async def leave_an_object(spine: Spine) -> None:
    await spine.store.put(f"speech/{uuid4()}/00", b"nobody's", "audio/flac")


async def change_a_state(spine: Spine) -> None:
    async with spine.database.transaction() as tx:
        await tx.execute(update(jobs).values(state="uploaded"))


async def forget_an_event(spine: Spine) -> None:
    async with spine.database.transaction() as tx:
        await tx.execute(delete(job_events).where(job_events.c.seq == 1))


async def notify_under_another_id(spine: Spine) -> None:
    async with spine.database.transaction() as tx:
        row = (
            await tx.execute(select(job_events).where(job_events.c.state == "delivered"))
        ).first()
        mine = (job_events.c.job == row.job, job_events.c.seq == row.seq)
        await tx.execute(update(job_events).where(*mine).values(event=uuid4()))


async def leave_a_message(spine: Spine) -> None:
    async with spine.database.transaction() as tx:
        row = {"shard": 0, "topic": "prompt-uploaded", "key": "k", "value": b"", "headers": []}
        await tx.execute(outbox.insert().values(row))


async def bury_an_innocent(spine: Spine) -> None:
    await spine.log.apply({}, {}, ["harm"])
    async with spine.log.source("harm") as source:
        await source.append([Message("prompt-uploaded-dead", "k", b"")], 1)


async def leave_a_socket(spine: Spine) -> None:
    folder = Datagrams(spine.settings.data / "doorbell")._folder
    folder.mkdir(exist_ok=True)
    (folder / "999999999-dead").touch()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lose_an_object, "names a missing object"),
        (change_an_object, "is not what its event says"),
        (leave_an_object, "objects that no event names: speech"),
        (change_a_state, "is not what the topics say"),
        (forget_an_event, "are not those of the topics"),
        (forget_an_event, "have a hole"),
        (notify_under_another_id, "is not notified under the id"),
        (leave_a_message, "left in the outbox"),
        (bury_an_innocent, "innocent records"),
        (bury_an_innocent, "has not answered 1 records"),
        (leave_a_socket, "sockets of dead processes"),
    ],
)
async def test_harm_is_found(clean: Fired, tmp_path: Path, harm: Harm, said: str) -> None:
    settings = copy_of(clean.settings, tmp_path)
    async with open_spine(settings) as spine:
        await harm(spine)
    assert said in " ".join((await check(settings, clean.accepted)).wrong)


def copy_of(settings: Settings, folder: Path) -> Settings:
    """The same house once more, to be harmed."""
    shutil.copytree(settings.data, folder / "data", ignore=shutil.ignore_patterns("*bell*"))
    return settings.model_copy(update={"data": folder / "data"})
