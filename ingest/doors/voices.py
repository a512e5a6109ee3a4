"""`/v1/voices`: voices that a person saved, with the consent that goes with each.

Knows requests and answers. Refuses to know how a voice is kept, and to show a recording to whom it
was not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import StreamingResponse

from ingest.bodies import idempotency_key, posted
from ingest.client import Client
from ingest.doors.documented import refusals, sounding
from ingest.doors.override import ByPost
from ingest.doors.sound import serve, served_as
from ingest.forms import Name, VoiceBody, VoiceJson
from ingest.gateway import Gate, Gateway, Speaker, voices_here
from ingest.shown import Shown
from ingest.sources import FLAC, recording_of
from ingest.voices import Voice, VoiceScope, Wanted, key_of
from ingest.wish import Saved, one_source, raw_of
from schemas.events import Whose

router = APIRouter(prefix="/v1/voices", tags=["voices"], dependencies=[Depends(voices_here)])
_THING = "voice"


class NameBody(BaseModel):
    """Another name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name


class CodeBody(BaseModel):
    """A code that somebody handed on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ConsentShown(Shown):
    """As it was given."""

    statement: str
    of: Whose
    at: datetime


class VoiceShown(Shown):
    """A saved voice."""

    id: UUID
    name: str
    created_at: datetime
    revoked_at: datetime | None = None
    seconds: float
    language: str | None = None
    consent: ConsentShown
    mine: bool
    scopes: Sequence[VoiceScope]
    recording_url: str | None = Field(default=None, description="For whoever may listen to it.")


class VoicesShown(Shown):
    """One's own and those shared with one, the newest first."""

    voices: Sequence[VoiceShown]


@router.post(
    "",
    status_code=201,
    responses=refusals(400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 429),
    openapi_extra={
        "requestBody": sounding(VoiceBody, "Voice", consent='{"statement": "…", "of": "self"}')
    },
    summary="Save a voice",
)
async def save_voice(
    request: Request,
    gateway: Gate,
    caller: Speaker,
    _: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
) -> VoiceShown:
    """Jobs take its `id` in place of a recording."""
    body, sound = await posted(request, VoiceBody, VoiceJson)
    source = one_source(sound, body.upload)
    assert not isinstance(source, Saved)
    key = idempotency_key(request)
    await gateway.voices.look(caller.person, key)
    heard = await gateway.sources.hear(source, raw_of(body.pcm), caller.person)
    id_ = uuid4()
    wanted = Wanted(
        id=id_,
        name=body.name,
        statement=body.consent.statement,
        of=body.consent.of,
        language=body.language,
        recording=recording_of(heard, key_of(caller.person, id_)),
    )
    await gateway.objects.put(wanted.recording.key, heard.flac, FLAC)
    voice = await gateway.voices.save(caller.person, wanted, key)
    return await _shown(gateway, voice, caller.client)


@router.get("", responses=refusals(401, 403), summary="Your voices")
async def list_voices(gateway: Gate, caller: Speaker) -> VoicesShown:
    """And those that others let you use."""
    found = await gateway.voices.all(caller.person)
    return VoicesShown(voices=[await _shown(gateway, each, caller.client) for each in found])


@router.post(
    "/accept",
    responses=refusals(400, 401, 403, 404, 408, 409, 413, 422),
    summary="Take up a shared voice",
)
async def accept_voice(body: CodeBody, gateway: Gate, caller: Speaker) -> VoiceShown:
    """A code is good for the first who shows it."""
    id_ = await gateway.shares.accept(caller.person, body.code)
    voice = await gateway.voices.find(caller.person, id_)
    return await _shown(gateway, voice, caller.client)


@router.get("/{voice_id}", responses=refusals(401, 403, 404, 409), summary="One voice")
async def one_voice(voice_id: UUID, gateway: Gate, caller: Speaker) -> VoiceShown:
    """Also when it is revoked."""
    voice = await gateway.voices.find(caller.person, voice_id)
    return await _shown(gateway, voice, caller.client)


@router.patch(
    "/{voice_id}",
    responses=refusals(400, 401, 403, 404, 408, 409, 413, 422),
    summary="Rename a voice",
)
async def rename_voice(
    voice_id: UUID, body: NameBody, gateway: Gate, caller: Speaker
) -> VoiceShown:
    """Nothing else of it can be changed: save another."""
    await gateway.voices.rename(caller.person, voice_id, body.name)
    voice = await gateway.voices.find(caller.person, voice_id)
    return await _shown(gateway, voice, caller.client)


@router.post(
    "/{voice_id}",
    responses=refusals(400, 401, 403, 404, 405, 408, 409, 413, 422),
    summary="The same, for clients that have no PATCH",
)
async def rename_by_post(
    voice_id: UUID, body: NameBody, gateway: Gate, caller: Speaker, _: ByPost
) -> VoiceShown:
    """With `X-HTTP-Method-Override: PATCH`."""
    return await rename_voice(voice_id, body, gateway, caller)


@router.delete(
    "/{voice_id}",
    status_code=204,
    responses=refusals(401, 403, 404, 409),
    summary="Revoke a voice",
)
async def revoke_voice(voice_id: UUID, gateway: Gate, caller: Speaker) -> Response:
    """No new job takes it, and those not yet spoken fail with `voice_revoked`."""
    await gateway.voices.revoke(caller.person, voice_id)
    return Response(status_code=204)


@router.head("/{voice_id}/recording", include_in_schema=False)
@router.get(
    "/{voice_id}/recording",
    response_class=StreamingResponse,
    responses=served_as(FLAC, 403, 404, 410, 416, 422),
    summary="The recording of a voice, at a signed address",
)
async def voice_recording(
    request: Request,
    voice_id: UUID,
    gateway: Gate,
    owner: Annotated[UUID, Query()],
    expires: Annotated[str, Query()] = "",
    signature: Annotated[str, Query()] = "",
) -> Response:
    """The address is in the voice's answer, for whoever may listen."""
    name = f"{_THING} {owner}"
    gateway.links.check(voice_id, name, expires, signature, gateway.database.now())
    filename = f"voxrelay-{voice_id}.flac"
    return await serve(request, gateway, key_of(owner, voice_id), FLAC, filename)


async def _shown(gateway: Gateway, voice: Voice, client: Client) -> VoiceShown:
    name, statement = await gateway.voices.told(voice)
    return VoiceShown(
        id=voice.id,
        name=name,
        created_at=voice.created_at,
        revoked_at=voice.revoked_at,
        seconds=voice.recording.seconds,
        language=voice.language,
        consent=ConsentShown(statement=statement, of=voice.of, at=voice.created_at),
        mine=voice.mine,
        scopes=sorted(voice.scopes),
        recording_url=_address(gateway, voice, client),
    )


def _address(gateway: Gateway, voice: Voice, client: Client) -> str | None:
    if voice.revoked_at is not None or VoiceScope.LISTEN not in voice.scopes:
        return None
    now, lifetime = gateway.database.now(), gateway.links.lifetime
    direct = gateway.objects.url(voice.recording.key, lifetime, f"voxrelay-{voice.id}.flac")
    name = f"{_THING} {voice.owner}"
    path = f"/v1/voices/{voice.id}/recording?owner={voice.owner}&"
    return direct or client.base + path + gateway.links.proof(voice.id, name, now)


SCHEMAS = (VoiceJson,)
"""Models that OpenAPI refers to and FastAPI does not find by itself."""
