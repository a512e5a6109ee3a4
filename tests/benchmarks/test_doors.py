"""The doors are measured: a job is accepted, delivered and read, and each took some time."""

from __future__ import annotations

from argparse import Namespace

import pytest

from benchmarks.doors import __main__ as doors

_WAITS = ("accepted", "delivered", "read")


@pytest.mark.timeout(300)
def test_jobs_at_rest_are_accepted_delivered_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "_WARM", 0)
    monkeypatch.setattr(doors, "_REST", 0.0)
    said = doors.measure(Namespace(log="sqlite", jobs=2, folder=None))
    assert all(0 < said[wait]["p50_ms"] <= said[wait]["p90_ms"] for wait in _WAITS), said
