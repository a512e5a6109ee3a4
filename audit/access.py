"""The auditor is audited: whoever reads what is kept is written down before they see it.

Knows that an auditor is a person with a key of their own, found by their name. Refuses to show
anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from relay.codec import encode
from relay.outbox import enqueue
from relay.spine import Spine
from relay.sql.database import Transaction
from schemas.envelope import Head
from schemas.events import AccessRecorded
from schemas.topics import topic_of


@dataclass(frozen=True, slots=True)
class Access:
    """What somebody is about to read, and why."""

    actor: str
    action: str
    opened: bool
    reason: str | None = None
    job: str | None = None
    subject: UUID | None = None
    scope: Mapping[str, str] = field(default_factory=dict)


async def record(spine: Spine, access: Access) -> None:
    """Write it down: safe once this returns, and on the log as soon as a gateway runs.

    `Unavailable` where it could not be written; then nothing may be shown. `Misconfigured` where
    the log has no topic for it: the outbox could not bring it there.
    """
    async for _ in spine.log.read([topic_of(AccessRecorded)], spine.database.now()):
        continue  # what came just now is of no interest, only that it can come
    id_ = uuid4()
    await spine.database.run(lambda tx: _write(tx, spine, access, id_))


async def _write(tx: Transaction, spine: Spine, access: Access, id_: UUID) -> None:
    person = await spine.keys.person_of_name(tx, access.actor)
    key = await spine.keys.create(tx, person)
    event = AccessRecorded(
        actor=access.actor,
        reason=access.reason,
        action=access.action,
        opened=access.opened,
        job=access.job,
        subject=access.subject,
        scope=dict(access.scope),
    )
    head = Head(id_, event.TYPE, spine.settings.site, tx.now, person, str(person))
    await enqueue(tx, [encode(event, head, key)])
