"""`/v1/status`: how the relay stands, for whoever looks after it.

Knows what is counted without reading what is counted. Refuses to know any job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from sqlalchemy import func, select

from ingest.accounts.roles import Scope
from ingest.doors.documented import refusals
from ingest.doors.operator import readiness
from ingest.gateway import Gate, Gateway, calls
from ingest.person import Caller
from ingest.remarks import APPEAL, REPORT
from relay.errors import Misconfigured, Unavailable
from relay.sql.afterwards import remarks
from relay.sql.database import Transaction
from relay.sql.schema import halts, jobs, outbox
from relay.telemetry import PATIENCE
from schemas.states import TERMINAL, State
from schemas.topics import READS

router = APIRouter(prefix="/v1/status", tags=["operator"])

Looker = Annotated[Caller, Depends(calls(Scope.STATUS))]
_UNFINISHED = [state.value for state in State if state not in TERMINAL]
_ENDED = [state.value for state in State if state in TERMINAL]


class Complaints(BaseModel):
    """Of one kind that wait for a person."""

    waiting: int
    overdue: int = Field(description="Nobody looked by their deadline.")


class StatusShown(BaseModel):
    """How the relay stands."""

    at: datetime
    ready: bool
    accepting: bool
    troubles: Mapping[str, str]
    outbox: int = Field(description="Records that are not on the log yet.")
    lags: Mapping[str, int | None] = Field(
        description="Records that each stage has not answered; null: the log does not say."
    )
    jobs: Mapping[str, int] = Field(description="That have not ended, by state.")
    ended_last_hour: Mapping[str, int] = Field(description="Jobs, by how they ended.")
    complaints: Mapping[str, Complaints]
    stopped: Mapping[str, datetime] = Field(description="Stages that wait for a person.")


@router.get("", responses=refusals(401, 403), summary="How the relay stands")
async def status(gateway: Gate, caller: Looker) -> StatusShown:
    """Readiness, what waits and where, and what waits for a person."""
    ready, lags = await asyncio.gather(readiness(gateway), _lags(gateway))
    async with gateway.database.reading() as tx:
        return StatusShown(
            at=tx.now,
            ready=ready["ready"],
            accepting=ready["accepting"],
            troubles=ready["troubles"],
            outbox=(await tx.execute(select(func.count()).select_from(outbox))).scalar_one(),
            lags=lags,
            jobs=await _jobs(tx),
            ended_last_hour=await _ended(tx),
            complaints=await _complaints(tx),
            stopped={row.group: row.at for row in await tx.execute(select(halts))},
        )


async def _lags(gateway: Gateway) -> Mapping[str, int | None]:
    found = await asyncio.gather(*(_lag(gateway, group, reads) for group, reads in READS.items()))
    return dict(zip(READS, found, strict=True))


async def _lag(gateway: Gateway, group: str, topics: Sequence[str]) -> int | None:
    try:
        async with asyncio.timeout(PATIENCE):
            return await gateway.log.lag(group, topics)
    except (TimeoutError, Unavailable, Misconfigured):
        return None


async def _jobs(tx: Transaction) -> Mapping[str, int]:
    query = select(jobs.c.state, func.count().label("number")).where(jobs.c.state.in_(_UNFINISHED))
    found = {row.state: row.number for row in await tx.execute(query.group_by(jobs.c.state))}
    return {state: found.get(state, 0) for state in _UNFINISHED}


async def _ended(tx: Transaction) -> Mapping[str, int]:
    within = jobs.c.updated_at > tx.now - timedelta(hours=1)
    query = select(jobs.c.state, func.count().label("number"))
    query = query.where(jobs.c.state.in_(_ENDED), within).group_by(jobs.c.state)
    found = {row.state: row.number for row in await tx.execute(query)}
    return {state: found.get(state, 0) for state in _ENDED}


async def _complaints(tx: Transaction) -> Mapping[str, Complaints]:
    waits = (remarks.c.closed_at.is_(None), remarks.c.kind.in_((REPORT, APPEAL)))
    late = func.count().filter(remarks.c.deadline < tx.now)
    query = select(remarks.c.kind, func.count().label("number"), late.label("late"))
    rows = await tx.execute(query.where(*waits).group_by(remarks.c.kind))
    found = {row.kind: Complaints(waiting=row.number, overdue=row.late) for row in rows}
    none = Complaints(waiting=0, overdue=0)
    return {kind: found.get(kind, none) for kind in (REPORT, APPEAL)}
