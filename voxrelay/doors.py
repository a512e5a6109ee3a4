"""The operator's and the auditor's doors at the gateway: audit's doors, ingest's porter.

Knows that the gateway tells who calls and where sound is heard. Refuses to know what is behind a
door.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from uuid import UUID

from fastapi import FastAPI
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from audit.archive import ArchiveDamaged
from audit.doors import ROUTERS, Refused, Who
from audit.history import with_archive
from audit.settings import AuditSettings
from ingest import answers
from ingest.accounts.roles import Scope
from ingest.gateway import Gateway
from ingest.jobs import find_any
from ingest.person import Caller
from ingest.problems import Problem
from ingest.shown import address
from relay.spine import Spine
from schemas.envelope import format_time
from schemas.events import Audio, Recording

log = logging.getLogger(__name__)


def furnish(app: FastAPI, spine: Spine) -> None:
    """Add the doors to a gateway that has not started yet."""
    app.state.spine, app.state.porter = spine, GatePorter()
    app.state.history = with_archive(spine, AuditSettings())
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(ArchiveDamaged, _damaged)


class GatePorter:
    """An `audit.doors.Porter` at the gateway."""

    async def who(self, connection: HTTPConnection, scope: str) -> Who:
        """`Problem` where the caller is not allowed `scope`."""
        caller = await _gateway(connection).callers.caller(connection)
        caller.needs(Scope(scope))
        return Who(_name(caller))

    async def sound(self, connection: HTTPConnection, job: UUID) -> Mapping[str, str | None]:
        """Addresses that are good for minutes."""
        gateway = _gateway(connection)
        async with gateway.database.reading() as tx:
            found = await find_any(tx, job)
        if found is None:
            return {"recording_url": None, "audio_url": None}
        client = gateway.callers.client(connection)

        def url(thing: str, kept: Recording | Audio | None) -> str | None:
            if kept is None:
                return None
            return str(address(gateway, found, thing, kept.key, client)["url"])

        detail = found.detail
        return {
            "recording_url": url("recording", detail.recording),
            "audio_url": url("audio", detail.audio),
        }


def _name(caller: Caller) -> str:
    """A key's id, a person's, or that they are on this machine."""
    if caller.key is not None:
        return f"key {caller.key}"
    return caller.person.hex if caller.role is not None else "local"


def _gateway(connection: HTTPConnection) -> Gateway:
    gateway: Gateway = connection.app.state.gateway
    return gateway


async def _refused(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    return answers.answer(request, Problem(refused.code))


async def _damaged(request: Request, damaged: Exception) -> Response:
    assert isinstance(damaged, ArchiveDamaged)
    log.error("an auditor met damage: %s", damaged)
    return answers.answer(request, Problem(damaged.CODE, hour=format_time(damaged.hour)))
