"""Who is to be told that a job has ended: a due row for each, in the transaction that shows it.

Knows webhooks' and accounts' rows and what a notice says. Refuses to know how anybody is told
(`delivery.notify` does). A notice's id follows from the event and the receiver, so it is made once.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID, uuid5

from sqlalchemy import select

from relay.sql.database import Transaction
from relay.sql.dues import Due, schedule
from relay.sql.schema import accounts, webhooks
from schemas.envelope import format_time, parse_time
from schemas.states import State

SECRETS = "webhook secrets"
_SPELLED = "whsec_"
WEBHOOK = "webhook"
WECHAT = "wechat"
"""Kinds of due rows."""
OPENID = "openid"
"""The sealed field of an account that WeChat knows."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A job that has ended: by which event, whose, how and when."""

    event: UUID
    job: UUID
    person: UUID
    state: State
    at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """An ending, to be told to one receiver: a webhook, or a person in WeChat.

    `tries` were made already.
    """

    kind: str
    receiver: UUID
    ending: Ending
    tries: int = 0

    @property
    def id(self) -> UUID:
        """Of its due row."""
        return uuid5(self.ending.event, f"{self.kind} {self.receiver}")

    def payload(self) -> dict[str, str | int]:
        """What its due row holds: ids and states, nothing personal."""
        ending = self.ending
        return {
            "receiver": str(self.receiver),
            "event": str(ending.event),
            "job": str(ending.job),
            "person": str(ending.person),
            "state": ending.state.value,
            "at": format_time(ending.at),
            "tries": self.tries,
        }


def notice_of(row: Due) -> Notice:
    """The notice that a due row of our kind holds."""
    said = row.payload
    ending = Ending(
        event=UUID(said["event"]),
        job=UUID(said["job"]),
        person=UUID(said["person"]),
        state=State(said["state"]),
        at=parse_time(said["at"]),
    )
    return Notice(row.kind, UUID(said["receiver"]), ending, said["tries"])


def secret_of(webhook: UUID, site: bytes) -> bytes:
    """What notices to `webhook` are signed with, by the secret of the site of name `SECRETS`."""
    return hmac.new(site, webhook.bytes, sha256).digest()


def spelled(secret: bytes) -> str:
    """How a receiver is given its secret, as Standard Webhooks has it."""
    return _SPELLED + base64.b64encode(secret).decode()


async def announce(tx: Transaction, endings: Sequence[Ending], *, messages: bool = False) -> None:
    """Let everybody who asked for it be told of `endings`; with `messages` in WeChat as well."""
    if endings:
        await _to_webhooks(tx, endings)
    if endings and messages:
        await _to_wechat(tx, endings)


async def _to_webhooks(tx: Transaction, endings: Sequence[Ending]) -> None:
    columns = webhooks.c.id, webhooks.c.person, webhooks.c.states
    persons = {ending.person for ending in endings}
    query = select(*columns).where(webhooks.c.person.in_(persons), webhooks.c.disabled_at.is_(None))
    rows = (await tx.execute(query)).all()
    for ending in endings:
        for row in rows:
            if row.person == ending.person and ending.state.value in row.states:
                await _schedule(tx, Notice(WEBHOOK, row.id, ending))


async def _to_wechat(tx: Transaction, endings: Sequence[Ending]) -> None:
    """To those who signed in there; whether they allow it WeChat knows."""
    columns = accounts.c.person, accounts.c.sealed
    persons = {ending.person for ending in endings}
    rows = (await tx.execute(select(*columns).where(accounts.c.person.in_(persons)))).all()
    known = {row.person for row in rows if OPENID in row.sealed}
    for ending in endings:
        if ending.person in known:
            await _schedule(tx, Notice(WECHAT, ending.person, ending))


async def _schedule(tx: Transaction, notice: Notice) -> None:
    await schedule(tx, Due(notice.id, notice.kind, tx.now, payload=notice.payload()))
