"""The topic table: name, event, partitions, retention; one row a topic.

Knows what every topic is for and how it is kept. Refuses to know brokers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.events import (
    AccessRecorded,
    AuditRootPublished,
    Event,
    JobFailed,
    PersonErased,
    PromptApproved,
    PromptHeld,
    PromptRejected,
    PromptReviewed,
    PromptUploaded,
    RequestRefused,
    SpeechDelivered,
    SpeechSynthesized,
    VoiceRevoked,
    VoiceSaved,
)

RETENTION_DAYS = 190
FOR_GOOD_DAYS = 36_500
"""A restored backup must learn who was erased, however old it is."""
EMBEDDED_PARTITIONS = 4
CLUSTER_PARTITIONS = 24
BRIDGE = "bridge"
"""What an edge has in the place of the other groups: it takes jobs to the cluster."""
READS: Mapping[str, tuple[str, ...]] = {
    "moderation": ("prompt-uploaded", "prompt-reviewed"),
    "synth": ("prompt-approved",),
    "delivery": ("speech-synthesized",),
}
"""What each group of the chain reads."""
CHAIN = frozenset({*READS, BRIDGE})
"""The groups without whose answer a job goes no further."""
POSITIONS = "relay-positions"
"""Empty topic whose committed offsets are the positions of the sources."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic; all of a chain have equal partition counts. `compacted` keeps the last of a key."""

    name: str
    event: type[Event]
    purpose: str
    retention_days: int = RETENTION_DAYS
    compacted: bool = False

    @property
    def dead(self) -> str:
        """The topic for records of this one that no stage could handle."""
        return f"{self.name}-dead"


TOPICS: tuple[Topic, ...] = (
    Topic("prompt-uploaded", PromptUploaded, "accepted at a door, waits for moderation"),
    Topic("prompt-approved", PromptApproved, "may be spoken, waits for synth"),
    Topic("prompt-rejected", PromptRejected, "may not be spoken; ends the job"),
    Topic("prompt-held", PromptHeld, "waits for a person"),
    Topic("prompt-reviewed", PromptReviewed, "a person decided, waits for moderation"),
    Topic("speech-synthesized", SpeechSynthesized, "spoken, waits for delivery"),
    Topic("speech-delivered", SpeechDelivered, "labelled and stored; ends the job"),
    Topic("job-failed", JobFailed, "ended without speech"),
)

LEDGER: tuple[Topic, ...] = (
    Topic("access-recorded", AccessRecorded, "an auditor read what is kept"),
    Topic("audit-root-published", AuditRootPublished, "an hour has closed", compacted=True),
    Topic("person-erased", PersonErased, "a person's key was destroyed", FOR_GOOD_DAYS),
    Topic("request-refused", RequestRefused, "a door turned it away"),
    Topic("voice-saved", VoiceSaved, "a voice, and by whose consent"),
    Topic("voice-revoked", VoiceRevoked, "a voice was taken back"),
)
"""Of no job, in one partition each: no stage reads them."""

BY_NAME: dict[str, Topic] = {topic.name: topic for topic in (*TOPICS, *LEDGER)}
BY_EVENT: dict[type[Event], Topic] = {topic.event: topic for topic in (*TOPICS, *LEDGER)}
DEAD: tuple[str, ...] = tuple(topic.dead for topic in TOPICS)


def topic_of(event: Event | type[Event]) -> str:
    """Name of the topic that an event, or its class, belongs to."""
    return BY_EVENT[event if isinstance(event, type) else type(event)].name
