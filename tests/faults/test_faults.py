"""A short plan on each log; the long one is a command."""

from __future__ import annotations

import pytest

from infra.servers import ToolMissing
from tests.faults.__main__ import fire
from tests.faults.plan import plan
from tests.servers import unavailable


def test_a_plan_follows_from_its_seed() -> None:
    once, again, other = (list(plan(seed, 50, ["kafka"])) for seed in (7, 7, 8))
    assert once == again != other
    assert sum(fault.kills for fault in once) >= 50
    assert {fault.how for fault in once} == {"kill", "freeze"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("log", "kills"), [("sqlite", 8), ("kafka", 8)])
def test_whatever_dies_every_accepted_job_ends_once(log: str, kills: int) -> None:
    try:
        said = fire(log, kills, seed=5)
    except ToolMissing as lacking:
        unavailable(str(lacking))
    assert said["jobs"] > 0
    assert said["kills"] >= kills
    assert (said["lost"], said["duplicated"], said["unfinished"], said["wrong"]) == (0, 0, 0, []), (
        said
    )
