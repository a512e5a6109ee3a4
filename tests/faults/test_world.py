"""The world around the relay breaks: two short scenarios; with VOXRELAY_TEST_WORLD all, as long."""

from __future__ import annotations

import os
from typing import Any

import pytest

from infra.servers import ToolMissing
from tests.faults.world.__main__ import SCENARIOS
from tests.faults.world.scenario import endure
from tests.servers import unavailable

pytestmark = pytest.mark.timeout(900)
SHORT = {"disk-full": 3.0, "resets": 5.0}
LONG = bool(os.environ.get("VOXRELAY_TEST_WORLD"))


@pytest.mark.parametrize("name", SCENARIOS if LONG else SHORT)
def test_whatever_the_world_does_every_accepted_job_ends_once(name: str) -> None:
    try:
        said: dict[str, Any] = endure({name: SCENARIOS[name]}, None if LONG else SHORT[name])
    except ToolMissing as lacking:
        unavailable(str(lacking))
    assert said["jobs"] > 0
    assert (said["lost"], said["duplicated"], said["unfinished"], said["wrong"]) == (0, 0, 0, []), (
        said
    )
