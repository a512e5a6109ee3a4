"""The stage `view`: every event of the chain becomes a row that its person can read.

Knows jobs' rows, their events by seq, and which event names which object. Appends nothing to the
log and opens nothing that is sealed. A second call for an event changes nothing: what it writes is
keyed by the event's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select

from ingest.ending import HELD_FOR, ageing, giving_up
from ingest.progress import News, object_keys, told
from ingest.rows import Change, write
from relay.claims import letter_id
from relay.codec import head_of
from relay.doorbell import Doorbell
from relay.errors import BadRecord
from relay.letters import DeadLetter
from relay.sql.database import Database, Transaction
from relay.sql.schema import jobs
from relay.sql.together import Together
from relay.stage import Context
from schemas.envelope import Head
from schemas.events import BY_TYPE, EVENTS, Event, PromptHeld, PromptUploaded, SpeechDelivered
from schemas.states import STATE_OF, State, rank, stuck_rank
from schemas.topics import CHAIN


class View:
    """Writes job rows for every event of the chain, and rings for whoever waits."""

    name = "view"
    consumes = EVENTS
    ends_jobs = False
    opens = False

    def __init__(
        self,
        database: Database,
        doorbell: Doorbell,
        chain: frozenset[str] = CHAIN,
        *,
        decides: bool = True,
        held_for: timedelta = HELD_FOR,
    ) -> None:
        """`decides` says whether held prompts are decided at this site: an edge leaves them be.

        `held_for` is how long one waits.
        """
        self._held_for = held_for
        self._database, self._doorbell, self._chain = database, doorbell, chain
        self._decides = decides
        self._together = Together(database, write)

    async def handle(self, event: Event, context: Context) -> Sequence[Event]:
        """Write what `event` says of its job; answers with no event."""
        change = of_event(
            event, context.head, context.appended or self._database.now(), self._held_for
        )
        await self._together.put(change if self._decides else replace(change, due=None))
        self._doorbell.ring(change.job)
        return ()

    async def mourn(self, letter: DeadLetter) -> None:
        """Show the job `stuck`, if the chain cannot go on without that record."""
        if letter.group not in self._chain or (job := _job_or_none(letter.key)) is None:
            return
        async with self._database.reading() as tx:
            head = await _head_of(tx, letter, job)
        if head is not None:
            change = of_letter(letter, head)
            await self._together.put(change)
            self._doorbell.ring(job)

    async def check(self) -> None:
        """Raise `Unavailable` while the database does not answer."""
        await self._database.check()


def of_event(event: Event, head: Head, at: datetime, held_for: timedelta = HELD_FOR) -> Change:
    """What `event` changes; `at` is when the log took it."""
    state = STATE_OF[BY_TYPE[head.type]]
    return Change(
        id=head.id,
        job=_job_of(head.key),
        head=head,
        news=News(state, rank(state), at, told(event)),
        keys=object_keys(event),
        door=event.door if isinstance(event, PromptUploaded) else None,
        format=_format(event),
        due=ageing(head, at, held_for) if isinstance(event, PromptHeld) else None,
    )


def of_letter(letter: DeadLetter, head: Head) -> Change:
    """What a dead letter changes; `head` is that of the record in it."""
    id_, at = letter_id(letter.record), letter.record.appended
    return Change(
        id=id_,
        job=_job_of(letter.key),
        head=head,
        news=News(State.STUCK, stuck_rank(letter.topic), at, {}),
        due=giving_up(id_, head, at),
    )


async def _head_of(tx: Transaction, letter: DeadLetter, job: UUID) -> Head | None:
    """The head in a dead letter; where it is broken, one made from the job's row, if there is any.

    None where nobody waits: the record belongs to no job of ours.
    """
    try:
        return head_of(letter.record)
    except BadRecord:
        row = (await tx.execute(select(jobs).where(jobs.c.id == job))).one_or_none()
    if row is None:
        return None
    return Head(letter_id(letter.record), "", row.site, row.accepted_at, row.person, letter.key)


def _job_of(key: str) -> UUID:
    if (job := _job_or_none(key)) is None:
        raise BadRecord("job_unknown", "The event belongs to no job.")
    return job


def _job_or_none(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None


def _format(event: Event) -> str | None:
    return event.format.value if isinstance(event, PromptUploaded | SpeechDelivered) else None
