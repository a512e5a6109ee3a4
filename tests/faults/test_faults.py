"""The short plan on each log, every point of the protocol in it; the long ones are commands."""

from __future__ import annotations

import pytest

from infra.servers import ToolMissing
from tests.faults.conftest import SESSION
from tests.faults.house import members
from tests.faults.instants import INSTANTS, POINTS, REBALANCES, instant, parts
from tests.faults.plan import SHORT, every_instant, plan, short
from tests.servers import unavailable


def test_a_plan_follows_from_its_seed() -> None:
    once, again, other = (list(plan(seed, 1000, members(2), ["kafka"], 10)) for seed in (7, 7, 8))
    assert once == again != other
    assert sum(fault.kills for fault in once) >= 1000
    assert {fault.how for fault in once} == {"kill", "freeze", "restart", "fence"}


def test_the_short_plan_has_every_point_but_those_of_rebalances() -> None:
    hit = {parts(target)[1] for targets in SHORT for target in targets}
    assert hit == POINTS.keys() - REBALANCES


def test_the_whole_plan_has_every_instant() -> None:
    kills = [fault for fault in every_instant(members(2), SESSION) if fault.how == "kill"]
    assert {target for fault in kills for target in fault.targets} == {
        instant(stage, point) for stage, points in INSTANTS.items() for point in points
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("log", ["sqlite", "kafka"])
def test_whoever_dies_at_whichever_instant_every_accepted_job_ends_once(
    log: str, request: pytest.FixtureRequest
) -> None:
    try:
        said = request.getfixturevalue(f"{log}_run").said
    except ToolMissing as lacking:
        unavailable(str(lacking))
    assert said["missed"] == [], said
    assert said["kills"] == sum(fault.kills for fault in short(SESSION))
    assert said["jobs"] > 0
    assert (said["lost"], said["duplicated"], said["unfinished"], said["wrong"]) == (0, 0, 0, []), (
        said
    )
