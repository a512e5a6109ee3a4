"""Byte ranges (RFC 9110): which part of a file a player asks for. Pure."""

from __future__ import annotations

import re

from ingest.problems import Problem

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def span_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and end (excluded) of the one range asked for; None means the whole file.

    Several ranges, other units and nonsense are passed over, as the RFC lets a server. `Problem`
    (`range_unsatisfiable`) where the range lies beyond the end.
    """
    found = _RANGE.fullmatch((header or "").strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise Problem("range_unsatisfiable", size=size)
    return start, end
