"""Some hundred hostile uploads, and all that were made by hand; ten thousand are a command."""

from __future__ import annotations

import sys

import pytest

from tests.hostile import sender
from tests.hostile.__main__ import fire
from tests.hostile.bases import bases
from tests.hostile.handmade import TAKEN, handmade
from tests.hostile.sender import drawn

UPLOADS = 160


def test_uploads_follow_from_their_seed() -> None:
    assert [drawn(3, n) for n in range(9)] == [drawn(3, n) for n in range(9)]
    assert drawn(3, 0) != drawn(4, 0)
    assert {drawn(3, n).name.split()[1] for n in range(400)} == set(bases())


@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_hostile_uploads_are_refused_and_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Five seconds are for the command on a quiet machine: here others are at work, too.
    monkeypatch.setattr(sender, "SECONDS", 20.0)
    said = fire(UPLOADS, seed=5)
    assert said.wrong == []
    assert said.uploads == UPLOADS + len(handmade())
    assert said.codes[TAKEN] > 0, "a gateway that refuses everything would pass for a good one"
