"""The gateway: doors around parts that somebody else has opened.

Knows how the doors are put together. Refuses to open the parts: `build` takes them, and its caller
closes them after the application has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
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
    session,
    sound,
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
from ingest.quota import Quota
from ingest.recording import Bounds, Limits, Probes
from ingest.refusals import Refusals
from ingest.settings import IngestSettings
from ingest.shares import Shares
from ingest.sources import Sources
from ingest.uploads import UploadLimits, Uploads
from ingest.voices import Voices
from relay.doorbell import Doorbell
from relay.log.port import Log
from relay.objects.port import ObjectStore
from relay.outward import Outward
from relay.retry import until_available
from relay.settings import Settings
from relay.sql.database import Database
from relay.sql.keys import SqlKeyStore
from relay.telemetry import Health
from relay.wechat import WeChatSettings
from schemas.topics import READS

ROUTERS = tuple(
    door.router
    for door in (
        *(tts, jobs, events, sound, catalogue, uploads, upload_socket, voices),
        *(session, keys, webhooks, operator, page, proof),
    )
)
"""Every door but `/openapi.json`, which FastAPI opens."""
_SECRET = "audio addresses"

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def build(
    *,
    settings: Settings,
    ingest: IngestSettings,
    database: Database,
    log: Log,
    objects: ObjectStore,
    keys: SqlKeyStore,
    doorbell: Doorbell,
    health: Health | None = None,
    wechat: WeChatSettings | None = None,
    refusals: Refusals | None = None,
) -> FastAPI:
    """The gateway as an ASGI application; its lifespan starts and ends the probes.

    `health` is what other loops of this process have to say at `/readyz`. `refusals` are told what
    the doors turn away; whoever hands them over runs them.
    """
    said = health or Health()
    probes = _probes(ingest, said)
    # What an edge holds waits for its line, for days if need be, and no group there works it off.
    reads = {} if settings.edge else READS
    pressure = Pressure(database, log, ingest.max_waiting, reads)
    begun = _uploads(ingest, database, objects, keys)
    quota = Quota(ingest.quota_per_minute, ingest.quota_burst)
    saved = Voices(settings.site, database, objects, keys, quota)
    sources = Sources(probes, objects, begun, saved)
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
    sign_in = _sign_in(settings, ingest, database, keys, wechat)
    hooks = Hooks(database, keys, Outward(settings.webhook_networks))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        secret = await until_available(lambda: keys.secret(_SECRET), "database", said)
        await until_available(probes.start, "probes", said)
        app.state.gateway = Gateway(
            settings=ingest,
            database=database,
            log=log,
            objects=objects,
            doorbell=doorbell,
            health=said,
            keys=keys,
            callers=Callers(ingest, settings.public_url, database, keys, sign_in),
            sign_in=sign_in,
            hooks=hooks,
            acceptor=acceptor,
            uploads=begun,
            sources=sources,
            voices=saved,
            shares=Shares(database),
            edge=settings.edge,
            links=Links(secret, timedelta(minutes=ingest.url_minutes)),
            refusals=refusals or Refusals(database, keys, settings.site, 0),
            closing=asyncio.Event(),
        )
        try:
            yield
        finally:
            hooks.close()
            await sign_in.close()
            await pressure.close()
            await probes.close()

    return _doors(lifespan, ingest)


def _probes(ingest: IngestSettings, health: Health) -> Probes:
    return Probes(
        Limits(ingest.probe_memory, ingest.probe_seconds, ingest.probe_processes),
        Bounds(ingest.recording_min_seconds, ingest.recording_max_seconds, ingest.silence_peak),
        health,
    )


def _uploads(
    ingest: IngestSettings, database: Database, objects: ObjectStore, keys: SqlKeyStore
) -> Uploads:
    limits = UploadLimits(
        each=ingest.upload_bytes,
        count=ingest.upload_count,
        total=ingest.upload_total,
        life=timedelta(hours=ingest.upload_hours),
    )
    return Uploads(database, objects, keys, limits)


def _sign_in(
    settings: Settings,
    ingest: IngestSettings,
    database: Database,
    keys: SqlKeyStore,
    wechat: WeChatSettings | None,
) -> SignIn:
    return SignIn(
        database,
        keys,
        settings.site,
        WeChat(wechat) if wechat is not None and wechat.app is not None else None,
        token_life=timedelta(minutes=ingest.token_minutes),
        session_life=timedelta(days=ingest.session_days),
    )


def _doors(lifespan: Lifespan, ingest: IngestSettings) -> FastAPI:
    """Every door, and what they have in common."""
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
        app.include_router(router)
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
