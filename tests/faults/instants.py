"""The instants at which a process may be hit: between two steps that belong together. Pure.

An instant is `<stage>.<point>`. `tests.faults.mortal` knows where a process passes its points.
"""

from __future__ import annotations

STAGES = ("ingest", "moderation", "synth", "delivery")

OBJECT_BEFORE = "object-before"
OBJECT_AFTER = "object-after"
SENT = "sent"
KEPT = "kept"
MID_WINDOW = "mid-window"
ASSIGNED = "assigned"
REVOKED = "revoked"
ACCEPTED = "accepted"
VIEWED = "viewed"
PART = "part"
VOICE = "voice"

POINTS = {
    OBJECT_BEFORE: "an object is made, and not yet in the store",
    OBJECT_AFTER: "an object lies in the store, and no event names it yet",
    SENT: "the messages of a log transaction are sent, and its commit is not",
    KEPT: "the log has committed, and nobody here has heard of it",
    MID_WINDOW: "later records of a partition are committed, and an earlier one is still at work",
    ASSIGNED: "a partition is taken over and its earlier holder fenced, and nothing is fetched yet",
    REVOKED: "a partition is to be given back, and nothing of it is committed yet",
    ACCEPTED: "a job is committed in SQL, and neither published nor answered",
    VIEWED: "the view is committed in SQL, and its offset is not",
}
"""What has happened at a point, and what has not."""

ASIDE = {
    PART: "a part of an upload is committed in SQL, and its sender has not heard of it",
    VOICE: "in SQL a voice is saved, or taken back, and nothing has followed from it",
}
"""Points of a gateway that no job passes on its way: no plan arms them."""

REBALANCES = frozenset({ASSIGNED, REVOKED})
"""Points that are passed only where members of a group come and go."""

_OF_ALL = (OBJECT_BEFORE, OBJECT_AFTER, SENT, KEPT, ASSIGNED, REVOKED)
_OF_INGEST = (ACCEPTED, VIEWED)
_OF_OTHERS = (MID_WINDOW,)

INSTANTS: dict[str, tuple[str, ...]] = {
    stage: (*_OF_ALL, *(_OF_INGEST if stage == "ingest" else _OF_OTHERS)) for stage in STAGES
}
"""The points that processes of a stage pass. What ingest commits is its outbox and its view."""


def instant(stage: str, point: str) -> str:
    """The name of an instant."""
    return f"{stage}.{point}"


def parts(target: str) -> tuple[str, str]:
    """Stage and point of an instant; the point is empty where `target` is a process."""
    stage, _, point = target.partition(".")
    return stage, point
