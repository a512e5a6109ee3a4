"""How long the Kafka log waits for what: one frozen value, production's by default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A test shortens what it would otherwise wait for."""

    session: float = 6.0
    """A member that was not heard of for so long is out of its group, and its work goes on.

    No shorter: a broker allows no less unless its `group.min.session.timeout.ms` says so.
    """
    heartbeat: float = 2.0
    rebalance: float = 30.0
    """A member that gave nothing back for so long after a rebalance began is out, too."""
    unpolled: float = 120.0
    """A member that polls no more leaves the group after so long."""
    metadata: float = 30.0
    """New partitions are seen at the latest after so long; ten times that by writers, many."""
    idle: float = 60.0
    """A writer without work keeps its connections for so long."""
    request: float = 10.0
    start: float = 20.0
    """To start a client; for a writer this includes settling what its predecessor left open."""
    transaction: float = 15.0
    """The broker aborts what was left open for so long."""
    commit: float = 20.0
    """Longer than a transaction: whoever gives up a commit knows that the broker has, too."""
    first_offset: float = 10.0
    """A partition added a moment ago may wait so long for its first offset to be written."""
    stop: float = 5.0
