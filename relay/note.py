"""The note beside a committed offset: answered offsets, ceiling, deaths and blame.

Knows its spelling (ASCII, under 4,000 bytes, which is what a broker keeps). Refuses to know what a
Runner makes of it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

REACH = 16_384
"""Offsets beyond the base that the bitmap covers: 2 KB of bits."""
BLAME_KEPT = 32
"""Most records blamed at a time; the note has to stay short."""


@dataclass(frozen=True, slots=True)
class Blame:
    """How often a record raised, and how often its process died while it ran alone."""

    exceptions: int = 0
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """What is known beyond the committed offset. Offsets are absolute."""

    ceiling: int
    deaths: int = 0
    finished: frozenset[int] = frozenset()
    blame: Mapping[int, Blame] = field(default_factory=dict)

    def write(self, base: int) -> str:
        """The note as kept beside the offset `base`; what it says of offsets is relative to it."""
        bits = 0
        for offset in self.finished:
            bits |= 1 << (offset - base)
        said = {
            "c": self.ceiling - base,
            "d": self.deaths,
            "b": _pack(bits),
            "t": {
                str(o - base): [b.exceptions, b.deaths]
                for o, b in sorted(self.blame.items())[:BLAME_KEPT]
            },
        }
        return json.dumps({k: v for k, v in said.items() if v}, separators=(",", ":"))

    @staticmethod
    def read(base: int, metadata: str) -> Note:
        """The note kept beside `base`; an empty one where nothing was noted yet.

        `ValueError` where `metadata` is not such a note: somebody else committed for this group.
        """
        if not metadata:
            return Note(ceiling=base)
        said = json.loads(metadata)
        bits = _unpack(said.get("b", ""))
        return Note(
            ceiling=base + said.get("c", 0),
            deaths=said.get("d", 0),
            finished=frozenset(base + i for i in range(bits.bit_length()) if bits >> i & 1),
            blame={base + int(o): Blame(*counts) for o, counts in said.get("t", {}).items()},
        )


def beyond(metadata: str) -> int:
    """How many records beyond its offset a note calls answered; 0 where it is none of ours."""
    try:
        return _unpack(json.loads(metadata).get("b", "")).bit_count() if metadata else 0
    except (ValueError, TypeError, AttributeError):  # no JSON, or not of this shape
        return 0


def _pack(bits: int) -> str:
    raw = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
    return base64.b64encode(raw).decode()


def _unpack(text: str) -> int:
    return int.from_bytes(base64.b64decode(text), "little")
