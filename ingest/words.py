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
_LABEL = "variant"


def first_event(job: UUID) -> UUID:
    """The id of the event that a job begins with."""
    return uuid5(job, f"{topic_of(PromptUploaded)}/0")


def sealed_words(job: UUID, text: str, label: str | None, key: PersonKey) -> Mapping[str, str]:
    """What the row of `job` holds of `text`: the same bytes as its first event.

    And the `label` that tells a variant from the others.
    """
    words = {_TEXT: text} | ({} if label is None else {_LABEL: label})
    return {name: seal(key, first_event(job), name, said) for name, said in words.items()}


async def words_of(job: Job, keys: KeyStore) -> Mapping[str, str]:
    """`text` and `variant`; none where it was accepted elsewhere, or nobody may read it now."""
    if not job.sealed:
        return {}
    try:
        key = await keys.key(job.person)
    except (PersonErased, Unavailable):  # the rest of the job is told all the same
        return {}
    return {
        name: unseal(key, first_event(job.id), name, ciphertext)
        for name, ciphertext in job.sealed.items()
    }
