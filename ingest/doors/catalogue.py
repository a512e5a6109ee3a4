"""`/v1/catalogue`: what a client may offer, so that none has a list of its own.

Knows styles, formats and limits, and what is told of whoever spoke last. Refuses to know persons:
it answers anybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from ingest.doors.documented import refusals
from ingest.gateway import Gate
from ingest.jobs import last_spoken
from ingest.settings import IngestSettings
from ingest.uploads import PIECE
from ingest.wish import MOST_VARIANTS
from schemas.events import AudioFormat
from schemas.styles import STYLES, Kind, Style

router = APIRouter(prefix="/v1/catalogue", tags=["catalogue"])


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class LabelShown(_Shown):
    """What people read."""

    zh: str
    en: str


class StyleShown(_Shown):
    """A preset manner: `name` is what a job takes as its `style`."""

    name: str
    label: LabelShown
    kind: Kind


class DialectShown(StyleShown):
    """A dialect: a style as well, or an instruction in words."""

    instruct: str


class SecondsShown(_Shown):
    """From `least` to `most`."""

    least: float
    most: float


class LimitsShown(_Shown):
    """What is refused beyond."""

    text: int = Field(description="Characters of a text.")
    recording_seconds: SecondsShown
    recording_bytes: int = Field(description="Of the body it comes in.")
    upload_bytes: int = Field(description="Of an upload in parts.")
    variants: int = Field(description="Manners in one request.")
    part_bytes: int = Field(description="Of a part that is written at once: a good size to send.")


class EngineShown(_Shown):
    """The voice that speaks."""

    clones: bool | None = Field(
        description="False where a stand-in speaks; null until something has been spoken here."
    )


class CatalogueShown(_Shown):
    """Everything a client may offer."""

    styles: Sequence[StyleShown]
    dialects: Sequence[DialectShown]
    formats: Sequence[AudioFormat]
    limits: LimitsShown
    engine: EngineShown


@router.get("", responses=refusals(), summary="Styles, dialects, formats and limits")
async def catalogue(gateway: Gate) -> CatalogueShown:
    """The same for everybody; no token is needed."""
    async with gateway.database.reading() as tx:
        spoken = await last_spoken(tx)
    return CatalogueShown(
        styles=[StyleShown(**_told(each)) for each in STYLES if each.kind is not Kind.DIALECT],
        dialects=[
            DialectShown(**_told(each), instruct=each.instruct)
            for each in STYLES
            if each.kind is Kind.DIALECT
        ],
        formats=list(AudioFormat),
        limits=_limits(gateway.settings),
        engine=EngineShown(clones=None if spoken is None else spoken.cloned),
    )


def _told(style: Style) -> dict[str, object]:
    label = LabelShown(zh=style.zh, en=style.en)
    return {"name": style.id, "label": label, "kind": style.kind}


def _limits(settings: IngestSettings) -> LimitsShown:
    return LimitsShown(
        text=settings.text_limit,
        recording_seconds=SecondsShown(
            least=settings.recording_min_seconds, most=settings.recording_max_seconds
        ),
        recording_bytes=settings.max_body,
        upload_bytes=settings.upload_bytes,
        variants=MOST_VARIANTS,
        part_bytes=PIECE,
    )
