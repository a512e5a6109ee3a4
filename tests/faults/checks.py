"""Invariants, from the outside: what topics, store, view and doors say after everything.

Knows what has to be there, and only once. Refuses to know what may be left lying about
(`tests.faults.leftovers` does).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from uuid import UUID

import httpx
from httpx_retries import Retry, RetryTransport
from sqlalchemy import Row, select

from infra.topics import groups
from ingest.progress import object_keys
from relay.codec import decode, head_of
from relay.errors import Missing
from relay.letters import REDRIVE
from relay.log.port import Record
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql.schema import job_events, jobs
from schemas.events import Audio, Event, Recording, SpeechDelivered, SpeechSynthesized
from schemas.states import STATE_OF, TERMINAL
from schemas.topics import BY_NAME, TOPICS
from tests.faults import leftovers

CHAIN = [topic.name for topic in TOPICS]
ENDS = {topic.name for topic in TOPICS if STATE_OF[topic.event] in TERMINAL}
_AT_ONCE = 8


@dataclass
class Findings:
    """What is wrong; all empty where nothing is."""

    lost: set[str] = field(default_factory=set)
    """Accepted jobs without an end on the log."""
    duplicated: set[str] = field(default_factory=set)
    """Event ids that stand twice, and jobs that ended or were told of twice."""
    wrong: list[str] = field(default_factory=list)
    """Everything else, in words."""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.wrong)


async def check(settings: Settings, accepted: set[str], doors: Sequence[str] = ()) -> Findings:
    """Read everything and compare; `doors` are asked, too, where any are open."""
    found = Findings()
    async with open_spine(settings) as spine:
        records = [record async for record in spine.log.read(CHAIN)]
        check_events(records, accepted, found)
        await _objects(spine, records, found)
        await _view(spine, records, accepted, found)
        found.wrong += [left async for left in leftovers.find(spine, _keys(records))]
    if doors:
        await _told(doors, sorted(accepted & ends_of(records).keys()), found)
    return found


# -- on the log ---------------------------------------------------------------------------------


def check_events(records: Iterable[Record], accepted: set[str], found: Findings) -> None:
    """Each event once, each accepted job with one end, in order, and no other jobs."""
    by_job: dict[str, list[Record]] = defaultdict(list)
    by_id: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_id[ce_id(record)].append(record)
    for id_, copies in by_id.items():
        originals = [record for record in copies if not _redriven_for(record)]
        if len(originals) > 1:
            found.duplicated.add(id_)
        if not originals or any(not _copies(each, originals[0]) for each in copies):
            found.wrong.append(f"a redriven copy of event {id_} is not what it copies")
        for record in originals[:1]:
            by_job[record.key].append(record)
    ends = {job: [r for r in told if r.topic in ENDS] for job, told in by_job.items()}
    found.lost |= {job for job in accepted if not ends.get(job)}
    found.duplicated |= {job for job, of_job in ends.items() if len(of_job) > 1}
    if strangers := by_job.keys() - accepted:
        found.wrong.append(f"{len(strangers)} jobs on the log were never answered with 202")
    for job, told in by_job.items():
        times = [r.appended for r in sorted(told, key=lambda r: CHAIN.index(r.topic))]
        if times != sorted(times):
            found.wrong.append(f"the events of job {job} are out of order")


def ce_id(record: Record) -> str:
    """The event's id."""
    return dict(record.headers)["ce_id"].decode()


def ends_of(records: Iterable[Record]) -> dict[str, Record]:
    """The record that ends each job."""
    return {record.key: record for record in records if record.topic in ENDS}


def _redriven_for(record: Record) -> list[str]:
    return [value.decode() for name, value in record.headers if name == REDRIVE]


def _copies(record: Record, original: Record) -> bool:
    """Whether it is `original` again, to the byte: the mark names the one group it is for."""
    what, whole = (replace(r, partition=0, offset=0, headers=()) for r in (record, original))
    same = replace(what, appended=original.appended) == whole
    return same and all(group in groups() for group in _redriven_for(record))


# -- in the store -------------------------------------------------------------------------------


async def _objects(spine: Spine, records: list[Record], found: Findings) -> None:
    for record in records:
        event = decode(record, head_of(record), None)
        for key, digest in _named(event).items():
            try:
                data = await spine.store.get(key)
            except Missing:
                found.wrong.append(f"{record.topic} of job {record.key} names a missing object")
                continue
            if digest and sha256(data).hexdigest() != digest:
                found.wrong.append(f"an object of job {record.key} is not what its event says")


def _keys(records: Iterable[Record]) -> set[str]:
    """Keys of all objects that any event names."""
    return {key for record in records for key in object_keys(decode(record, head_of(record), None))}


def _named(event: Event) -> dict[str, str]:
    """Keys of the objects an event names, with their SHA-256 where it tells it."""
    known = dict.fromkeys(object_keys(event), "")
    for name in type(event).model_fields:
        value = getattr(event, name)
        if isinstance(value, Audio) or (
            isinstance(value, Recording) and isinstance(event, SpeechDelivered | SpeechSynthesized)
        ):
            known[value.key] = value.sha256
    return known


# -- in the view, and at the doors --------------------------------------------------------------


async def _view(spine: Spine, records: list[Record], accepted: set[str], found: Findings) -> None:
    on_log: dict[str, set[str]] = defaultdict(set)
    for record in records:
        on_log[record.key].add(ce_id(record))
    ended = ends_of(records)
    async with spine.database.reading() as tx:
        for job in accepted:
            row = (await tx.execute(select(jobs).where(jobs.c.id == UUID(job)))).one_or_none()
            rows = (await tx.execute(select(job_events).where(job_events.c.job == UUID(job)))).all()
            end = ended.get(job)
            if row is None or end is None or row.state != STATE_OF[BY_NAME[end.topic].event].value:
                found.wrong.append(f"the view of job {job} is not what the topics say")
            if {str(each.event) for each in rows} != on_log[job]:
                found.wrong.append(f"the events of job {job} are not those of the topics")
            if sorted(each.seq for each in rows) != list(range(1, len(rows) + 1)):
                found.wrong.append(f"the seqs of job {job} have a hole")
            _notification(job, rows, end, found)


def _notification(job: str, rows: Iterable[Row[UUID]], end: Record | None, found: Findings) -> None:
    """One row ends the job, and its id is that of the event that does."""
    ids = [str(row.event) for row in rows if row.state in TERMINAL]
    if len(ids) > 1:
        found.duplicated.add(job)
    if end is not None and ids != [ce_id(end)]:
        found.wrong.append(f"job {job} is not notified under the id of the event that ends it")


async def _told(doors: Sequence[str], jobs_: Sequence[str], found: Findings) -> None:
    """What a client that follows a job is told, at one door or the other: its seqs, and one end."""
    few = asyncio.Semaphore(_AT_ONCE)
    # A connection that was kept may be closed just as it is used again; asking twice does no harm.
    again = RetryTransport(retry=Retry(total=5, backoff_factor=0.5))
    async with (
        httpx.AsyncClient(timeout=60, transport=again) as client,
        asyncio.TaskGroup() as following,
    ):

        async def follow(door: str, job: str) -> None:
            async with few:
                said = (await client.get(f"{door}/v1/jobs/{job}/events?after=0")).text
            seqs = [int(line[3:]) for line in said.splitlines() if line.startswith("id:")]
            if not seqs or seqs != list(range(1, len(seqs) + 1)):
                found.wrong.append(f"who follows job {job} is told the seqs {seqs}")
            if said.count('"ended": true') != 1:
                found.wrong.append(f"who follows job {job} is not told one end")

        for number, job in enumerate(jobs_):
            following.create_task(follow(doors[number % len(doors)], job))
