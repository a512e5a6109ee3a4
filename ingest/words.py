"""What a person wrote, kept sealed beside their job and opened for that person alone.

Knows under which event a job's words are sealed. Refuses to know who asks: whose job it is was
checked before.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID, uuid5

from ingest.jobs import Job
from relay.errors import PersonErased, Unavailable
from relay.keys import KeyStore, PersonKey
from relay.sealing import seal, unseal
from schemas.events import PromptUploaded
from schemas.topics import topic_of

_TEXT = "text"


def first_event(job: UUID) -> UUID:
    """The id of the event that a job begins with."""
    return uuid5(job, f"{topic_of(PromptUploaded)}/0")


def sealed_words(job: UUID, text: str, key: PersonKey) -> Mapping[str, str]:
    """What the row of `job` holds of `text`: the same bytes as its first event."""
    return {_TEXT: seal(key, first_event(job), _TEXT, text)}


async def text_of(job: Job, keys: KeyStore) -> str | None:
    """What was to be spoken; None where it was accepted elsewhere, or nobody may read it now."""
    ciphertext = job.sealed.get(_TEXT)
    if ciphertext is None:
        return None
    try:
        key = await keys.key(job.person)
    except (PersonErased, Unavailable):  # the rest of the job is told all the same
        return None
    text: str = unseal(key, first_event(job.id), _TEXT, ciphertext)
    return text
