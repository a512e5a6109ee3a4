"""An archived hour as its own object tells it: its root, what lies where, and where it ends.

Pure. Knows the form that `docs/audit.md` publishes. Refuses to fetch anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256

from pydantic_core import from_json

from audit.roots import Root, read_root
from relay.log.port import Place
from relay.objects.kinds import ARCHIVE
from schemas.envelope import format_time, parse_time

FORMAT = "voxrelay-archive/1"
HOURS, RECORDS = f"{ARCHIVE}/hours/", f"{ARCHIVE}/records/"

Spans = Mapping[Place, tuple[int, int]]
"""Of each partition the records from an offset on, before another."""


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one topic, in order; `places` are partition, first and last offset."""

    name: str
    topic: str
    places: Sequence[Sequence[int]]
    size: int
    sha256: str
    """Size and hash of the lines, which are the same whatever has compressed them."""

    @property
    def key(self) -> str:
        """Where it lies."""
        return RECORDS + self.name

    def touches(self, wanted: Spans) -> bool:
        """Whether it may hold any of those records."""
        spans = (
            (*wanted.get((self.topic, n), (0, 0)), first, last) for n, first, last in self.places
        )
        return any(begin <= last and first < end for begin, end, first, last in spans)


@dataclass(frozen=True, slots=True)
class Archived:
    """What an hour's own object says. Records before `ends` are of it, or of an hour before."""

    root: Root
    after: datetime | None
    """The hour archived before it."""
    ends: Mapping[Place, int]
    parts: Sequence[Part]

    @property
    def hour(self) -> datetime:
        """Which it is."""
        return self.root.hour

    def spelled(self) -> bytes:
        """The object: a line of JSON, and one with its hash."""
        said = {
            "format": FORMAT,
            "statement": self.root.statement,
            "after": format_time(self.after) if self.after else None,
            "ends": _by_topic(self.ends),
            "parts": [asdict(part) for part in self.parts],
        }
        body = json.dumps(said, separators=(",", ":")).encode()
        return body + b"\n" + sha256(body).hexdigest().encode() + b"\n"


def read(data: bytes) -> Archived:
    """What the object says; `ValueError`, `TypeError` or `KeyError` where it is none of these."""
    body, _, digest = data.partition(b"\n")
    if digest.decode(errors="replace").strip() != sha256(body).hexdigest():
        raise ValueError("not as its hash says")
    said = from_json(body)
    if said["format"] != FORMAT:
        raise ValueError(f"of the form {said['format']!r}, not {FORMAT}")
    return Archived(
        read_root(said["statement"]),
        parse_time(said["after"]) if said["after"] else None,
        {(topic, n): end for topic, ends in said["ends"].items() for n, end in enumerate(ends)},
        [Part(**each) for each in said["parts"]],
    )


def _by_topic(ends: Mapping[Place, int]) -> Mapping[str, Sequence[int]]:
    """Of each topic the ends of its partitions, the first one's first."""
    found = dict[str, list[int]]()
    for (topic, _), end in sorted(ends.items()):
        found.setdefault(topic, []).append(end)
    return found
