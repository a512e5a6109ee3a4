"""What an event means for the row of its job: pure, values in, values out.

Knows ranks: a lower one never overwrites a higher, and the first that ends a job wins. Refuses to
know SQL and clocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from schemas.events import (
    Event,
    JobFailed,
    JudgedPrompt,
    PromptRejected,
    PromptUploaded,
    SpeechDelivered,
    SpeechSynthesized,
)
from schemas.states import TERMINAL, State

_TOLD: dict[type[Event], tuple[str, ...]] = {
    PromptUploaded: ("recording", "style"),
    JudgedPrompt: ("recording", "style"),
    PromptRejected: ("recording",),
    SpeechSynthesized: ("spoken",),
    SpeechDelivered: ("spoken", "audio"),
    JobFailed: ("code", "message"),
}
"""Fields that the view takes over as they are. None of them is personal."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands, and what its `ingest.jobs.Detail` says (as JSON)."""

    state: State
    rank: int
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class News:
    """What one event says of its job: a state, its rank, and an addition to the detail."""

    state: State
    rank: int
    at: datetime
    told: Mapping[str, Any]


def told(event: Event) -> dict[str, Any]:
    """What `event` adds to the detail of its job, as JSON."""
    names = next((names for kind, names in _TOLD.items() if isinstance(event, kind)), ())
    dumped = event.model_dump(mode="json", include=set(names), exclude_none=True)
    if isinstance(event, JudgedPrompt | PromptRejected):
        reasons = [reason.model_dump(mode="json") for reason in event.verdict.reasons]
        dumped |= {"reasons": reasons, "language": event.heard_language}
        dumped["code_version"] = event.verdict.code_version
    return {name: value for name, value in dumped.items() if value is not None}


def after(before: Standing, news: News) -> Standing:
    """Where the job stands after `news`, whichever order they come in.

    What a lower rank tells only fills gaps; what comes after the end of a job and would end it
    again tells nothing.
    """
    steps = [*before.detail.get("steps", ()), {"state": news.state, "at": news.at.isoformat()}]
    over = before.state in TERMINAL
    higher = news.rank > before.rank and not over
    if over and news.state in TERMINAL:
        return Standing(before.state, before.rank, {**before.detail, "steps": steps})
    known = {name: value for name, value in before.detail.items() if value not in (None, [])}
    merged = {**known, **news.told} if higher else {**news.told, **known}
    merged["steps"] = steps
    return Standing(
        news.state if higher else before.state, news.rank if higher else before.rank, merged
    )


def object_keys(value: BaseModel) -> frozenset[str]:
    """Keys of the objects that an event names, at whatever depth."""
    found: set[str] = set()
    for name in type(value).model_fields:
        field = getattr(value, name)
        if isinstance(field, BaseModel):
            found |= object_keys(field)
        elif isinstance(field, str) and (name == "key" or name.endswith("_key")):
            found.add(field)
    return frozenset(found)
