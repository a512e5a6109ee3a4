"""Invariants, from the outside: what topics, store and job view say after everything."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID

from sqlalchemy import func, select

from infra.topics import groups
from ingest.progress import object_keys
from relay.codec import decode, head_of
from relay.errors import Missing
from relay.letters import REDRIVE
from relay.log.port import Record
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql.schema import job_events, jobs, outbox
from schemas.events import Audio, Event, Recording, SpeechDelivered, SpeechSynthesized
from schemas.states import STATE_OF, TERMINAL
from schemas.topics import BY_NAME, DEAD

ENDS = {name for name, topic in BY_NAME.items() if STATE_OF[topic.event] in TERMINAL}


@dataclass
class Findings:
    """What is wrong; all empty where nothing is."""

    lost: set[str] = field(default_factory=set)
    """Accepted jobs without an end on the log."""
    duplicated: set[str] = field(default_factory=set)
    """Event ids that stand twice, and jobs that ended twice."""
    wrong: list[str] = field(default_factory=list)
    """Everything else, in words."""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.wrong)


async def check(settings: Settings, accepted: set[str]) -> Findings:
    """Read everything and compare."""
    found = Findings()
    async with open_spine(settings) as spine:
        records = [record async for record in spine.log.read(list(BY_NAME))]
        _events(records, accepted, found)
        await _objects(spine, records, found)
        await _view(spine, records, accepted, found)
        await _left_over(spine, found)
    return found


def _events(records: list[Record], accepted: set[str], found: Findings) -> None:
    ids = Counter(
        dict(r.headers)["ce_id"].decode()
        for r in records
        if not any(name == REDRIVE for name, _ in r.headers)
    )
    found.duplicated |= {id_ for id_, count in ids.items() if count > 1}
    ends = Counter(record.key for record in records if record.topic in ENDS)
    found.lost |= {job for job in accepted if ends[job] == 0}
    found.duplicated |= {job for job, count in ends.items() if count > 1}
    strangers = {record.key for record in records} - accepted
    if strangers:
        found.wrong.append(f"{len(strangers)} jobs on the log were never answered with 202")
    by_job: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_job[record.key].append(record)
    order = list(BY_NAME)
    for job, told in by_job.items():
        times = [r.appended for r in sorted(told, key=lambda r: order.index(r.topic))]
        if times != sorted(times):
            found.wrong.append(f"the events of job {job} are out of order")


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


async def _view(spine: Spine, records: list[Record], accepted: set[str], found: Findings) -> None:
    on_log: dict[str, set[str]] = defaultdict(set)
    ended: dict[str, str] = {}
    for record in records:
        on_log[record.key].add(dict(record.headers)["ce_id"].decode())
        if record.topic in ENDS:
            ended[record.key] = STATE_OF[BY_NAME[record.topic].event].value
    async with spine.database.reading() as tx:
        for job in accepted:
            row = (await tx.execute(select(jobs).where(jobs.c.id == UUID(job)))).one_or_none()
            rows = (await tx.execute(select(job_events).where(job_events.c.job == UUID(job)))).all()
            if row is None or row.state != ended.get(job):
                found.wrong.append(f"the view of job {job} is not what the topics say")
            if {str(each.event) for each in rows} != on_log[job]:
                found.wrong.append(f"the events of job {job} are not those of the topics")
            if sorted(each.seq for each in rows) != list(range(1, len(rows) + 1)):
                found.wrong.append(f"the seqs of job {job} have a hole")


async def _left_over(spine: Spine, found: Findings) -> None:
    dead = [record async for record in spine.log.read(list(DEAD))]
    if dead:
        found.wrong.append(f"{len(dead)} innocent records became dead letters")
    for group, topics in groups().items():
        if (lag := await spine.log.lag(group, topics)) > 0:
            found.wrong.append(f"group {group} has not answered {lag} records")
    async with spine.database.reading() as tx:
        left = (await tx.execute(select(func.count()).select_from(outbox))).scalar_one()
    if left:
        found.wrong.append(f"{left} messages were left in the outbox")
