"""Ending jobs that wait for a person who does not come: held prompts, stuck jobs.

Knows how long is too long and what the user is told. Whoever decides after all (review, redrive,
discard) claims the same id in the transaction that says so, and the first wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from relay.sql.dues import ERASED, HELD, STUCK, Due, held_id
from relay.timer import Done, Handler
from schemas.envelope import Head
from schemas.events import JobFailed

HELD_FOR = timedelta(days=3)
STUCK_FOR = timedelta(days=1)

_STAGE = "timer"
_CLAIM = "claim"


def ageing(held: Head, since: datetime, life: timedelta = HELD_FOR) -> Due:
    """The row that ends a held prompt; what it claims is the held event's id."""
    return Due(held_id(held.id), HELD, since + life, held, {_CLAIM: str(held.id)})


def giving_up(letter: UUID, dead: Head, since: datetime, life: timedelta = STUCK_FOR) -> Due:
    """The row that ends a stuck job; what it claims is the dead letter's id."""
    return Due(uuid5(letter, STUCK), STUCK, since + life, dead, {_CLAIM: str(letter)})


async def end_held(due: Due) -> Done:
    """Nobody reviewed the prompt in time."""
    return _failed(due, "held_too_long", "Nobody could check this in time. Please send it again.")


async def end_stuck(due: Due) -> Done:
    """Nobody put right what the job was stuck on."""
    return _failed(due, "stuck_too_long", "Something broke on our side. Please send it again.")


HANDLERS: Mapping[str, Handler] = {HELD: end_held, STUCK: end_stuck}
"""For the `Timer` of a gateway."""


def _failed(due: Due, code: str, message: str) -> Done:
    if due.payload.get(ERASED):
        code, message = "erased", "This person's data was erased."
    event = JobFailed(stage=_STAGE, code=code, message=message)
    return Done((event,), claim=UUID(due.payload[_CLAIM]))
