"""Everything that the log and the stores know of one job, in order.

Knows which records, decisions and objects belong to a job. Refuses to judge and to change anything.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select

from audit.erasure import certified
from audit.reading import Eyes, Personal, Seen
from moderation.policy import policy_key
from relay.claims import letter_id
from relay.errors import BadRecord, Missing
from relay.log.port import Record
from relay.spine import Spine
from relay.sql.schema import claims, jobs
from relay.sweep import person_of
from schemas.events import BY_TYPE, PromptUploaded
from schemas.states import STATE_OF, TERMINAL, State, rank, stuck_rank
from schemas.topics import AFTERWARDS as REMARKS
from schemas.topics import CHAIN, DEAD, TOPICS, topic_of

SLACK = timedelta(minutes=5)
"""The log's clock and the database's may differ by so much."""
AFTERWARDS = timedelta(days=1)
"""How long after a job's end something may still be said of it: a letter of a group that lags."""

_ALL = [*(topic.name for topic in TOPICS), *DEAD]
_LATER = [topic.name for topic in REMARKS]
"""Months later, perhaps: what is said there has no term."""
_AFTER_ALL = 1_000


@dataclass(frozen=True, slots=True)
class Step:
    """One record of the job, and what a person decided about it, if it waited for one."""

    seen: Seen
    decided: Mapping[str, str] | None = None

    @property
    def told(self) -> dict[str, Any]:
        """The step as JSON."""
        record, head, letter = self.seen.record, self.seen.head, self.seen.letter
        said: dict[str, Any] = {
            "at": record.appended.isoformat(),
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "id": str(head.id) if head else None,
            "type": head.type if head else None,
            "traceparent": head.traceparent if head else None,
            "event": self.seen.fields,
            "headers": {n: v.decode(errors="replace") for n, v in _added(record)},
        }
        if letter is not None:
            said["dead"] = {"group": letter.group, "code": letter.code, "message": letter.message}
        if self.seen.why is not None:
            said["unreadable"] = self.seen.why
        if self.decided is not None:
            said["decided"] = dict(self.decided)
        return said


@dataclass(frozen=True, slots=True)
class Trail:
    """A job from its acceptance to its end; `objects` and `policies` as they lie in the store."""

    job: str
    person: UUID | None
    site: str | None
    accepted: datetime | None
    state: str
    view: str | None
    """What the job view shows; None where it has no such job."""
    personal: Personal
    steps: Sequence[Step]
    objects: Sequence[Mapping[str, Any]] = field(default=())
    policies: Sequence[Mapping[str, Any]] = field(default=())
    erasures: Sequence[Mapping[str, Any]] = field(default=())
    """What was certified where the person was erased."""

    @property
    def told(self) -> dict[str, Any]:
        """The trail as one JSON document."""
        return {
            "job": self.job,
            "person": str(self.person) if self.person else None,
            "site": self.site,
            "accepted": self.accepted.isoformat() if self.accepted else None,
            "state": self.state,
            "view": self.view,
            "personal": self.personal.value,
            "steps": [step.told for step in self.steps],
            "objects": [dict(each) for each in self.objects],
            "policies": [dict(each) for each in self.policies],
            "erasures": [dict(each) for each in self.erasures],
        }


async def trail(spine: Spine, job: str, *, opens: bool = True) -> Trail | None:
    """The trail of `job`; None where neither the log nor the database knows one.

    `opens` False leaves personal fields sealed.
    """
    row = await _row(spine, job)
    eyes = Eyes(spine.keys if opens else None)
    seen = sorted([await eyes.see(r) async for r in _records(spine, job, row)], key=_order)
    if row is None and not seen:
        return None
    decided = await _decisions(spine, seen)
    steps = [Step(each, decided.get(_waiting(each))) for each in seen]
    head = next((each.head for each in seen if each.head), None)
    personal = _personal(seen)
    erased = head.person if head and personal is Personal.ERASED else None
    return Trail(
        job=job,
        person=head.person if head else row.person if row else None,
        site=head.source if head else row.site if row else None,
        accepted=head.time if head else row.accepted_at if row else None,
        state=_state(steps).value,
        view=row.state if row else None,
        personal=personal,
        steps=steps,
        objects=[each async for each in _objects(spine, seen)],
        policies=[each async for each in _policies(spine, seen)],
        erasures=[e.model_dump(mode="json") async for e in certified(spine.log, erased)]
        if erased
        else (),
    )


async def _row(spine: Spine, job: str) -> Row[Any] | None:
    try:
        query = select(jobs).where(jobs.c.id == UUID(job))
    except ValueError:
        return None
    async with spine.database.reading() as tx:
        return (await tx.execute(query)).one_or_none()


async def _records(spine: Spine, job: str, row: Row[Any] | None) -> AsyncIterator[Record]:
    """The job's records: from its own partition and its own time, else from everywhere.

    Where partitions were added after the job began, its first event lies in another one.
    """
    since = row.accepted_at - SLACK if row else None
    ended = row is not None and State(row.state) in TERMINAL
    until = row.updated_at + AFTERWARDS if row and ended else None
    found = [r async for r in spine.log.read(_ALL, since, until=until, key=job)]
    if not any(record.topic == topic_of(PromptUploaded) for record in found):
        found = [r async for r in spine.log.read(_ALL, since) if r.key == job]
    found += [r async for r in spine.log.read(_LATER, since, key=job)]
    for record in found:
        yield record


def _order(seen: Seen) -> tuple[datetime, int, int]:
    """By time; what the log took at one instant, by how far it brought the job."""
    return seen.record.appended, _rank(seen), seen.record.offset


def _rank(seen: Seen) -> int:
    if seen.letter is not None:
        return stuck_rank(seen.letter.topic)
    if seen.record.topic in _LATER:
        return _AFTER_ALL
    return rank(STATE_OF[type_]) if (type_ := _type(seen)) in STATE_OF else 0


def _type(seen: Seen) -> Any:
    return BY_TYPE.get(seen.head.type) if seen.head else None


def _waiting(seen: Seen) -> UUID | None:
    """What a decision about this record claims: the letter's id, or the event's."""
    if seen.letter is not None:
        return letter_id(seen.record)
    return seen.head.id if seen.head else None


async def _decisions(spine: Spine, seen: Sequence[Seen]) -> Mapping[UUID | None, dict[str, str]]:
    ids = [id_ for each in seen if (id_ := _waiting(each)) is not None]
    async with spine.database.reading() as tx:
        rows = (await tx.execute(select(claims).where(claims.c.waiting.in_(ids)))).all()
    return {row.waiting: {"by": row.by, "at": row.at.isoformat()} for row in rows}


def _state(steps: Sequence[Step]) -> State:
    """Where the log alone says that the job stands."""
    states = [STATE_OF[t] for s in steps if not s.seen.letter and (t := _type(s.seen)) in STATE_OF]
    best = max(states, key=rank, default=State.ACCEPTED)
    waits = any(s.seen.letter and s.seen.letter.group in CHAIN and not s.decided for s in steps)
    return State.STUCK if waits and best not in TERMINAL else best


def _personal(seen: Sequence[Seen]) -> Personal:
    kinds = {each.personal for each in seen}
    return next((p for p in (Personal.ERASED, Personal.SEALED) if p in kinds), Personal.OPEN)


async def _objects(spine: Spine, seen: Sequence[Seen]) -> AsyncIterator[Mapping[str, Any]]:
    """Every object that an event names, with its hash as said and as it is now."""
    said: dict[str, str | None] = {}
    last: dict[str, datetime] = {}
    for each in seen:
        for key, digest in named(each.fields):
            said[key] = said.get(key) or digest
            last[key] = each.record.appended
    for key, digest in said.items():
        try:
            found = sha256(await spine.store.get(key)).hexdigest()
        except BadRecord:  # it is gone, or its name is none
            why = await _why_gone(spine, key, last[key])
            yield {"key": key, "said": digest, "found": None, "is": "gone", "why": why}
            continue
        same = "kept" if digest in (None, found) else "altered"
        yield {"key": key, "said": digest, "found": found, "is": same}


async def _why_gone(spine: Spine, key: str, named_at: datetime) -> str | None:
    """`erased` or `retention`, by rows and settings as they are; None: it ought to be there."""
    person = person_of(key)
    if person is not None and await spine.keys.erased(person):
        return "erased"
    life = spine.settings.retention.objects.get(key.split("/")[0])
    return "retention" if life is not None and named_at <= spine.database.now() - life else None


def named(value: Any) -> Iterator[tuple[str, str | None]]:
    """Keys of objects, at whatever depth of an event's fields, with the hash that stands beside."""
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if isinstance(inner, str) and (name == "key" or name.endswith("_key")):
            yield inner, value.get("sha256") if name == "key" else None
        else:
            yield from named(inner)


async def _policies(spine: Spine, seen: Sequence[Seen]) -> AsyncIterator[Mapping[str, Any]]:
    """Every policy that judged the job, and what those of its rules say that fired."""
    verdicts = [v for each in seen if (v := each.fields.get("verdict"))]
    for digest in dict.fromkeys(v["policy_digest"] for v in verdicts):
        fired = {r["rule"] for v in verdicts if v["policy_digest"] == digest for r in v["reasons"]}
        try:
            document = json.loads(await spine.store.get(policy_key(digest)))
        except Missing:
            yield {"digest": digest, "is": "gone", "fired": sorted(fired)}
            continue
        rules = {rule["id"]: rule for rule in document["rules"]}
        shown = [_rule(rules.get(rule, {"id": rule})) for rule in sorted(fired)]
        yield {"digest": digest, "is": "kept", "fired": shown}


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule without its words: a list may be long, and none of the job's business."""
    return {name: value for name, value in rule.items() if name not in ("words", "message")}


def _added(record: Record) -> Iterator[tuple[str, bytes]]:
    """Headers that are none of the envelope's: what buried, or sent again, the record."""
    return ((n, v) for n, v in record.headers if n.startswith(("dead_", "redrive_")))
