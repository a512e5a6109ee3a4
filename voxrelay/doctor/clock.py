"""Clocks: how far this machine's is from that of whoever just answered.

Knows the `Date` of an HTTP answer, whole seconds, and how far apart clocks may be: S3 refuses a
request signed more than a quarter of an hour off, and signed addresses live for minutes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from voxrelay.doctor.finding import Finding, bad, doubtful, good

DOUBTFUL = timedelta(seconds=60)
REFUSED = timedelta(minutes=15)
_DO = "Set this machine's clock, or that of the other: run an NTP client on both."


def clock_of(answer: httpx.Response, whose: str) -> Finding | None:
    """What `answer` says of the clocks; None where it has no date that can be read."""
    try:
        theirs = parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return None
    return compared(theirs, whose) if theirs.tzinfo else None


def compared(theirs: datetime, whose: str) -> Finding:
    """Our clock beside `theirs`, which was read just now."""
    apart = abs(datetime.now(UTC) - theirs)
    says = f"{apart.total_seconds():.0f} s from that of {whose}"
    if apart >= REFUSED:
        return bad("clock", says, _DO)
    return doubtful("clock", says, _DO) if apart >= DOUBTFUL else good("clock", says)
