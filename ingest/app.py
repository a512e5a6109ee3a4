"""The gateway: doors around parts that somebody else has opened.

Knows how the doors are put together. Refuses to open the parts: `build` takes them, and its caller
closes them after the application has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ingest import answers
from ingest.accept import Acceptor
from ingest.accounts.sign_in import SignIn
from ingest.accounts.wechat import WeChat
from ingest.allowance import Allowance
from ingest.doors import (
    catalogue,
    documented,
    events,
    jobs,
    keys,
    operator,
    page,
    proof,
    remarks,
    session,
    shared,
    shares,
    sound,
    status,
    tts,
    upload_socket,
    uploads,
    voices,
    webhooks,
)
from ingest.gateway import Gateway
from ingest.hooks import Hooks
from ingest.links import Links
from ingest.person import Callers
from ingest.pressure import Pressure
from ingest.queue import Queue
from ingest.quota import Quota
from ingest.recording import Bounds, Limits, Probes
from ingest.refusals import Refusals
from ingest.remarks import Remarks
from ingest.settings import IngestSettings
from ingest.shared_pages import SharedPages
from ingest.shares import Shares
from ingest.sources import Sources
from ingest.uploads import UploadLimits, Uploads
from ingest.voices import Voices
from relay.doorbell import Doorbell
from relay.outward import Outward
from relay.retry import until_available
from relay.spine import Spine
from relay.telemetry import Health
from relay.wechat import WeChatSettings
from schemas.topics import READS

ROUTERS = tuple(
    door.router
    for door in (
        *(tts, jobs, events, sound, remarks, shared),
        *(catalogue, uploads, upload_socket, voices, shares),
        *(session, keys, webhooks, operator, status, page, proof),
    )
)
"""Every door but `/openapi.json`, which FastAPI opens."""
ELSEWHERE = (voices.router, shares.router)
"""Doors that an edge only has to say that they are elsewhere."""
_SECRET = "audio addresses"
_SHARES = "shared pages"

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def build(
    spine: Spine,
    ingest: IngestSettings,
    doorbell: Doorbell,
    *,
    wechat: WeChatSettings | None = None,
    refusals: Refusals | None = None,
) -> FastAPI:
    """The gateway as an ASGI application; its lifespan starts and ends the probes.

    `refusals` are told what the doors turn away; whoever hands them over runs them.
    """
    parts = _parts(spine, ingest, wechat)
    told = refusals or Refusals(spine.database, spine.keys, spine.settings.site, 0)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.gateway = await _gateway(spine, ingest, doorbell, parts, told)
        try:
            yield
        finally:
            await parts.close()

    return _doors(lifespan, ingest, spine.settings.edge)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What can be made before anything has answered."""

    probes: Probes
    pressure: Pressure
    uploads: Uploads
    voices: Voices
    sources: Sources
    acceptor: Acceptor
    sign_in: SignIn
    hooks: Hooks
    queue: Queue

    async def close(self) -> None:
        """End what they have begun."""
        self.hooks.close()
        await self.queue.close()
        await self.sign_in.close()
        await self.pressure.close()
        await self.probes.close()


def _parts(spine: Spine, ingest: IngestSettings, wechat: WeChatSettings | None) -> _Parts:
    settings, database, keys = spine.settings, spine.database, spine.keys
    probes = _probes(ingest, spine.health)
    # What an edge holds waits for its line, for days if need be, and no group there works it off.
    pressure = Pressure(database, spine.log, ingest.max_waiting, {} if settings.edge else READS)
    begun = _uploads(spine, ingest)
    quota = Quota(ingest.quota_per_minute, ingest.quota_burst)
    saved = Voices(settings.site, database, spine.store, keys, quota)
    sources = Sources(probes, spine.store, begun, saved)
    acceptor = Acceptor(
        site=settings.site,
        database=database,
        keys=keys,
        sources=sources,
        allowance=Allowance(
            ingest.quota_per_minute, ingest.quota_burst, ingest.daily_seconds, ingest.concurrent
        ),
        pressure=pressure,
    )
    return _Parts(
        probes=probes,
        pressure=pressure,
        uploads=begun,
        voices=saved,
        sources=sources,
        acceptor=acceptor,
        sign_in=_sign_in(spine, ingest, wechat),
        hooks=Hooks(database, keys, Outward(settings.webhook_networks)),
        queue=Queue(database, spine.log),
    )


async def _gateway(
    spine: Spine,
    ingest: IngestSettings,
    doorbell: Doorbell,
    parts: _Parts,
    refusals: Refusals,
) -> Gateway:
    """What the doors share, once the database has told its secrets and the probes have started."""
    settings, database, keys, health = spine.settings, spine.database, spine.keys, spine.health
    secret = await until_available(lambda: keys.secret(_SECRET), "database", health)
    sharing = await until_available(lambda: keys.secret(_SHARES), "database", health)
    await until_available(parts.probes.start, "probes", health)
    return Gateway(
        settings=ingest,
        database=database,
        log=spine.log,
        objects=spine.store,
        doorbell=doorbell,
        health=health,
        keys=keys,
        callers=Callers(ingest, settings.public_url, database, keys, parts.sign_in),
        sign_in=parts.sign_in,
        hooks=parts.hooks,
        acceptor=parts.acceptor,
        uploads=parts.uploads,
        sources=parts.sources,
        voices=parts.voices,
        shares=Shares(database),
        edge=settings.edge,
        links=Links(secret, timedelta(minutes=ingest.url_minutes)),
        queue=parts.queue,
        remarks=Remarks(database, keys, timedelta(days=ingest.review_days)),
        pages=SharedPages(database, sharing, timedelta(days=ingest.share_days)),
        refusals=refusals,
        closing=asyncio.Event(),
    )


def _probes(ingest: IngestSettings, health: Health) -> Probes:
    return Probes(
        Limits(ingest.probe_memory, ingest.probe_seconds, ingest.probe_processes),
        Bounds(ingest.recording_min_seconds, ingest.recording_max_seconds, ingest.silence_peak),
        health,
    )


def _uploads(spine: Spine, ingest: IngestSettings) -> Uploads:
    limits = UploadLimits(
        each=ingest.upload_bytes,
        count=ingest.upload_count,
        total=ingest.upload_total,
        life=timedelta(hours=ingest.upload_hours),
    )
    return Uploads(spine.database, spine.store, spine.keys, limits)


def _sign_in(spine: Spine, ingest: IngestSettings, wechat: WeChatSettings | None) -> SignIn:
    return SignIn(
        spine.database,
        spine.keys,
        spine.settings.site,
        WeChat(wechat) if wechat is not None and wechat.app is not None else None,
        token_life=timedelta(minutes=ingest.token_minutes),
        session_life=timedelta(days=ingest.session_days),
    )


def _doors(lifespan: Lifespan, ingest: IngestSettings, edge: bool) -> FastAPI:
    """Every door, and what they have in common. What an `edge` has none of is not offered there."""
    app = FastAPI(
        title="VoxRelay",
        version=_version(),
        description="A text and a short recording of a voice in, speech in that voice out.",
        lifespan=lifespan,
        docs_url=None,  # the usual page of docs loads its scripts from strangers
        redoc_url=None,
        openapi_url="/openapi.json",
        generate_unique_id_function=lambda route: route.name,
    )
    for router in ROUTERS:
        offered = not edge or router not in ELSEWHERE
        app.include_router(router, include_in_schema=offered)
    answers.install(app)
    app.add_middleware(answers.BodyLimit, limit=ingest.max_body, seconds=ingest.body_seconds)
    app.add_middleware(answers.Bugs)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """OpenAPI with the models of bodies that doors read by hand."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        components = document.setdefault("components", {})
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"bearer": []}, {}]
        known = components.setdefault("schemas", {})
        for model in (*jobs.SCHEMAS, *tts.SCHEMAS, *voices.SCHEMAS, documented.ProblemShown):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            known.update(schema.pop("$defs", {}))
            known[model.__name__] = schema
        app.openapi_schema = document
    return app.openapi_schema


def _version() -> str:
    try:
        return version("voxrelay")
    except PackageNotFoundError:  # run from a checkout
        return "0"
