"""The states of a job and their rank; a lower one never overwrites a higher.

Knows which event brings a job into which state. Refuses to know where states are kept.
"""

from __future__ import annotations

from enum import StrEnum

from schemas.events import (
    Event,
    JobFailed,
    PromptApproved,
    PromptHeld,
    PromptRejected,
    PromptReviewed,
    PromptUploaded,
    SpeechDelivered,
    SpeechSynthesized,
)
from schemas.topics import BY_NAME, topic_of


class State(StrEnum):
    """Where a job stands."""

    ACCEPTED = "accepted"
    UPLOADED = "uploaded"
    HELD = "held"
    REVIEWED = "reviewed"
    APPROVED = "approved"
    SYNTHESIZED = "synthesized"
    STUCK = "stuck"
    REJECTED = "rejected"
    FAILED = "failed"
    DELIVERED = "delivered"


TERMINAL = frozenset({State.REJECTED, State.FAILED, State.DELIVERED})

STATE_OF: dict[type[Event], State] = {
    PromptUploaded: State.UPLOADED,
    PromptHeld: State.HELD,
    PromptReviewed: State.REVIEWED,
    PromptApproved: State.APPROVED,
    SpeechSynthesized: State.SYNTHESIZED,
    PromptRejected: State.REJECTED,
    JobFailed: State.FAILED,
    SpeechDelivered: State.DELIVERED,
}

_RANK: dict[State, int] = {
    State.ACCEPTED: 0,
    State.UPLOADED: 10,
    State.HELD: 20,
    State.REVIEWED: 30,
    State.APPROVED: 40,
    State.SYNTHESIZED: 50,
    State.REJECTED: 100,
    State.FAILED: 100,
    State.DELIVERED: 100,
}
_STATE_OF_TOPIC: dict[str, State] = {topic_of(event): s for event, s in STATE_OF.items()}


def rank(state: State) -> int:
    """Rank of a state that an event brings; terminal states share the highest."""
    return _RANK[state]


def stuck_rank(topic: str) -> int:
    """Rank of `stuck` for a job whose record of `topic` lies in the dead letters.

    Just above the state that record brought, so that its redriven successor overwrites it.
    """
    return _RANK[_STATE_OF_TOPIC[BY_NAME[topic].name]] + 5
