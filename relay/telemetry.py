"""What an operator sees of a process: whether it is ready, and its metrics.

Knows names of metrics and the shape of readiness. Refuses to know users: no label holds a job, a
person, a text or a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram

ANSWERED = Counter("voxrelay_records_answered", "Records answered", ["group", "outcome"])
IN_FLIGHT = Gauge("voxrelay_records_in_flight", "Records being handled", ["group"])
HANDLE_SECONDS = Histogram(
    "voxrelay_handle_seconds",
    "Seconds a handler took",
    ["group"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
)
COMMIT_SECONDS = Histogram(
    "voxrelay_commit_seconds",
    "Seconds a commit took",
    ["group"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
RETRIES = Counter("voxrelay_unavailable", "Times a part of our world did not answer", ["group"])
CLAIMS = Gauge("voxrelay_claims", "Partitions held", ["group"])


@dataclass(slots=True)
class Health:
    """What is wrong right now, part by part; ready when nothing is."""

    troubles: dict[str, str] = field(default_factory=dict)

    def trouble(self, part: str, what: str) -> None:
        """Say that `part` does not work; `what` names no user, text or secret."""
        self.troubles[part] = what

    def well(self, part: str) -> None:
        """Say that `part` works again."""
        self.troubles.pop(part, None)

    @property
    def ready(self) -> bool:
        return not self.troubles
