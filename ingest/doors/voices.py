"""`/v1/voices`: voices that a person saved, with the consent that goes with each, and who shares
them.

Knows requests and answers. Refuses to know how a voice is kept, and to show a recording to whom it
was not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import StreamingResponse

from ingest.accounts.roles import Scope
from ingest.bodies import idempotency_key, posted
from ingest.client import Client
from ingest.doors.documented import refusals
from ingest.doors.sound import serve
from ingest.gateway import Gate, Gateway, calls
from ingest.person import Caller
from ingest.problems import Problem
from ingest.shares import Share
from ingest.shown import Shown
from ingest.sources import FLAC, recording_of
from ingest.voices import Voice, VoiceScope, Wanted, key_of
from ingest.wish import Fields, Language, Pcm, Saved, one_source, raw_of
from schemas.events import Whose

router = APIRouter(prefix="/v1/voices", tags=["voices"])
_THING = "voice"

Caller_ = Annotated[Caller, Depends(calls(Scope.VOICES))]
Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]


class Consent(Fields):
    """What whoever speaks in the recording has agreed to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    statement: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] = Field(
        description="The words that were agreed to."
    )
    of: Whose = Field(description="Whose voice it is: one's own, or another's.")


class VoiceBody(Fields):
    """A voice to be saved, beside its recording."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    consent: Consent
    language: Language | None = Field(default=None, description="BCP 47, of the recording.")
    upload: UUID | None = Field(default=None, description="In place of the recording.")
    pcm: Pcm | None = Field(
        default=None, description="Only for a recording without a header of its own."
    )


class VoiceJson(VoiceBody):
    """The same as JSON."""

    recording: str | None = Field(default=None, description="In base64 (a data URL will do).")


class NameBody(BaseModel):
    """Another name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name


class ShareBody(BaseModel):
    """With whom, for what, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    person: UUID | None = Field(default=None, description="None: a code for whoever shows it.")
    scopes: Annotated[frozenset[VoiceScope], Field(min_length=1)] = frozenset({VoiceScope.SPEAK})
    days: int | None = Field(default=None, ge=1, le=3_650)


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


class ShareShown(Shown):
    """That somebody may use it; nobody yet, where there is no `person`."""

    id: UUID
    person: UUID | None = None
    scopes: Sequence[VoiceScope]
    created_at: datetime
    expires_at: datetime | None = None


class ShareMade(ShareShown):
    """A share just made. `code` is shown this once."""

    code: str | None = None


class SharesShown(Shown):
    """Who may use a voice, the first one first."""

    shares: Sequence[ShareShown]


def _body() -> dict[str, Any]:
    form = VoiceBody.model_json_schema(ref_template="#/components/schemas/{model}")
    form.pop("$defs", None)
    properties = form["properties"]
    properties["recording"] = {"type": "string", "format": "binary", "description": "The file."}
    for name in ("pcm", "consent"):
        properties[name] = {"type": "string", "description": "JSON."}
    json = {"$ref": "#/components/schemas/VoiceJson"}
    form = {**form, "title": "VoiceForm"}
    content = {"application/json": {"schema": json}, "multipart/form-data": {"schema": form}}
    return {"required": True, "content": content}


@router.post(
    "",
    status_code=201,
    responses=refusals(400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 429),
    openapi_extra={"requestBody": _body()},
    summary="Save a voice",
)
async def save_voice(
    request: Request,
    gateway: Gate,
    caller: Caller_,
    key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
) -> VoiceShown:
    """Jobs take its `id` in place of a recording."""
    if gateway.edge:
        raise Problem("voices_elsewhere")
    body, sound = await posted(request, VoiceBody, VoiceJson)
    source = one_source(sound, body.upload)
    assert not isinstance(source, Saved)
    await gateway.voices.look(caller.person)
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
    voice = await gateway.voices.save(caller.person, wanted, idempotency_key(request))
    return await _shown(gateway, voice, caller.client)


@router.get("", responses=refusals(401, 403), summary="Your voices")
async def list_voices(gateway: Gate, caller: Caller_) -> VoicesShown:
    """And those that others let you use."""
    found = await gateway.voices.all(caller.person)
    return VoicesShown(voices=[await _shown(gateway, each, caller.client) for each in found])


@router.post(
    "/accept", responses=refusals(401, 403, 404, 409, 422), summary="Take up a shared voice"
)
async def accept_voice(body: CodeBody, gateway: Gate, caller: Caller_) -> VoiceShown:
    """A code is good for the first who shows it."""
    id_ = await gateway.shares.accept(caller.person, body.code)
    voice = await gateway.voices.find(caller.person, id_)
    return await _shown(gateway, voice, caller.client)


@router.get("/{voice_id}", responses=refusals(401, 403, 404), summary="One voice")
async def one_voice(voice_id: UUID, gateway: Gate, caller: Caller_) -> VoiceShown:
    """Also when it is revoked."""
    voice = await gateway.voices.find(caller.person, voice_id)
    return await _shown(gateway, voice, caller.client)


@router.patch(
    "/{voice_id}", responses=refusals(400, 401, 403, 404, 409, 422), summary="Rename a voice"
)
async def rename_voice(
    voice_id: UUID, body: NameBody, gateway: Gate, caller: Caller_
) -> VoiceShown:
    """Nothing else of it can be changed: save another."""
    await gateway.voices.rename(caller.person, voice_id, body.name)
    voice = await gateway.voices.find(caller.person, voice_id)
    return await _shown(gateway, voice, caller.client)


@router.delete(
    "/{voice_id}", status_code=204, responses=refusals(401, 403, 404), summary="Revoke a voice"
)
async def revoke_voice(voice_id: UUID, gateway: Gate, caller: Caller_) -> Response:
    """No new job takes it, and those not yet spoken fail with `voice_revoked`."""
    await gateway.voices.revoke(caller.person, voice_id)
    return Response(status_code=204)


@router.head("/{voice_id}/recording", include_in_schema=False)
@router.get(
    "/{voice_id}/recording",
    response_class=StreamingResponse,
    responses={
        200: {"content": {FLAC: {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The range asked for"},
        304: {"description": "You have it"},
        **refusals(403, 404, 410, 416, 422),
    },
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


@router.get("/{voice_id}/shares", responses=refusals(401, 403, 404, 409), summary="Who may use it")
async def list_shares(voice_id: UUID, gateway: Gate, caller: Caller_) -> SharesShown:
    """Codes are not shown again."""
    found = await gateway.shares.all(caller.person, voice_id)
    return SharesShown(shares=[ShareShown(**_told(each)) for each in found])


@router.post(
    "/{voice_id}/shares",
    status_code=201,
    responses=refusals(400, 401, 403, 404, 409, 422),
    summary="Let somebody use it",
)
async def share_voice(voice_id: UUID, body: ShareBody, gateway: Gate, caller: Caller_) -> ShareMade:
    """A person, or whoever is handed the code."""
    life = None if body.days is None else timedelta(days=body.days)
    made, code = await gateway.shares.add(caller.person, voice_id, body.person, body.scopes, life)
    return ShareMade(**_told(made), code=code)


@router.delete(
    "/{voice_id}/shares/{share_id}",
    status_code=204,
    responses=refusals(401, 403, 404),
    summary="Let them use it no more",
)
async def unshare_voice(voice_id: UUID, share_id: UUID, gateway: Gate, caller: Caller_) -> Response:
    """From the next job on."""
    await gateway.shares.remove(caller.person, voice_id, share_id)
    return Response(status_code=204)


def _told(share: Share) -> dict[str, Any]:
    return {name: getattr(share, name) for name in ShareShown.model_fields}


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
