"""How long what is kept is kept: topics by the table, kinds of objects, and what a setting changes.

Pure. Knows names and days. Refuses to delete anything: logs and the sweeper do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from relay.objects.kinds import ARCHIVE
from schemas.topics import AFTERWARDS, FOR_GOOD_DAYS, LEDGER, RETENTION_DAYS, TOPICS

KINDS: Mapping[str, str] = {
    "recording": "what a user said, as it was uploaded",
    "hearing": "what was heard in it",
    "features": "what an engine made of it",
    "speech": "what was spoken, before it was labelled",
    "audio": "the delivered file",
}
"""The kinds of objects that age. Policies are kept for good."""
ARCHIVE_DAYS = 1095
"""An archive is there for what the topics no longer hold."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records of each topic are kept, objects of each kind, and archived hours."""

    topics: Mapping[str, timedelta]
    objects: Mapping[str, timedelta]
    archive: timedelta


def read_retention(text: str = "") -> Retention:
    """What `recording=30,prompt-uploaded=365` (days) changes; `ValueError` where that cannot be.

    Dead letters are kept as their topic is. What is compacted, or kept for good, has no days.
    """
    known = (*TOPICS, *AFTERWARDS, *LEDGER)
    topics = {topic.name: topic.retention_days for topic in known if not topic.compacted}
    objects = dict.fromkeys(KINDS, RETENTION_DAYS) | {ARCHIVE: ARCHIVE_DAYS}
    free = {name for name, days in topics.items() if days != FOR_GOOD_DAYS}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, days = part.partition("=")
        if not (days.isascii() and days.isdigit() and 1 <= int(days) <= FOR_GOOD_DAYS):
            raise ValueError(f"`{part}` is not `name=days`, of one day or more")
        if name not in free | objects.keys():
            raise ValueError(f"`{name}` is neither of {', '.join((*objects, *sorted(free)))}")
        (objects if name in objects else topics)[name] = int(days)
    topics |= {topic.dead: topics[topic.name] for topic in TOPICS}
    archive = timedelta(days=objects.pop(ARCHIVE))
    return Retention(_lengths(topics), _lengths(objects), archive)


def _lengths(days: Mapping[str, int]) -> Mapping[str, timedelta]:
    return {name: timedelta(days=count) for name, count in days.items()}
