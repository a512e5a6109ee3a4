"""What a scenario is, and how each is endured: jobs come in all the while, and all is compared.

Knows the order of things. Refuses to know what is broken, and how.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from infra.stages import StageProcess
from tests.faults.attendant import readiness as readiness
from tests.faults.checks import check
from tests.faults.driver import Run, Tell, under_load
from tests.faults.house import House
from tests.sql import until

H = TypeVar("H", bound=House)

JOBS_WITHIN = 60.0
NOTICED_WITHIN = 45.0
"""Seconds; a load balancer or an operator should know by then that our world is down."""
READY_WITHIN = 120.0


@dataclass
class Scene(Generic[H]):
    """A house that stands, the jobs that come to it, and what is measured meanwhile."""

    house: H
    run: Run
    seconds: float
    tell: Tell
    figures: dict[str, float] = field(default_factory=dict)

    def note(self, what: str, figure: float) -> None:
        """Keep the highest figure of its kind."""
        self.figures[what] = max(round(figure, 1), self.figures.get(what, 0.0))
        self.tell(f"{what}: {figure:.1f}")

    async def jobs(self, more: int = 3) -> None:
        """Return once `more` jobs were accepted than before."""
        goal = len(self.run.accepted) + more
        await until(lambda: len(self.run.accepted) >= goal, JOBS_WITHIN)


@dataclass(frozen=True)
class Scenario(Generic[H]):
    """`opens` a house in a folder; `act` breaks the world around it, for `seconds` if not told."""

    opens: Callable[[Path], AbstractContextManager[H]]
    act: Callable[[Scene[H]], Awaitable[None]]
    seconds: float
    says: str
    forgives: str = "nothing of what is found"
    """What `check` says where it goes by a clock that was wrong."""


def endure(
    scenarios: Mapping[str, Scenario[Any]],
    seconds: float | None = None,
    *,
    seed: int = 1,
    quiet: bool = True,
) -> dict[str, Any]:
    """Scenarios, one after another, in the house of the first, which has to be that of all.

    What is wrong stands under `wrong`, in words.
    """
    begun = time.monotonic()

    def tell(what: str) -> None:
        if not quiet:
            print(f"{time.monotonic() - begun:7.1f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may be another user
        with next(iter(scenarios.values())).opens(Path(folder)) as house:
            figures: dict[str, dict[str, float]] = {name: {} for name in scenarios}

            async def act(run: Run) -> None:
                for name, scenario in scenarios.items():
                    tell(name)
                    for_ = scenario.seconds if seconds is None else seconds
                    try:
                        await scenario.act(Scene(house, run, for_, tell, figures[name]))
                    except TimeoutError:  # all is looked at: what the stages said tells why
                        run.trouble.append(f"{name} did not come to its end")

            run = asyncio.run(under_load(house, seed, act))
            accepted = set(run.accepted.values())
            found = asyncio.run(check(house.settings, accepted, house.doors))
            forgiven = tuple(scenario.forgives for scenario in scenarios.values())
            found.wrong = [what for what in found.wrong if not any(f in what for f in forgiven)]
            clean = found.clean and not (run.unfinished or run.trouble)
            said = {} if clean else {n: s.log_tail(40) for n, s in house.stages.items()}
    return {
        "jobs": len(accepted),
        "lost": len(found.lost - run.unfinished),
        "duplicated": len(found.duplicated),
        "unfinished": len(run.unfinished),
        "seconds": round(time.monotonic() - begun, 1),
        "wrong": [*found.wrong, *run.trouble],
        "figures": figures,
        **({"said": said} if said else {}),
    }


async def until_said(
    stage: StageProcess, holds: Callable[[Mapping[str, Any]], bool], within: float
) -> float:
    """How long it took until what `/readyz` says `holds`; raises `TimeoutError`."""
    begun = time.monotonic()

    async def says_so() -> bool:
        said = await readiness(stage)
        return said is not None and holds(said)

    await until(says_so, within)
    return time.monotonic() - begun


async def noticed(scene: Scene[Any], names: Iterable[str], part: str = "") -> None:
    """Return once every one of these stages says that it is not ready, for a `part…`."""

    def trouble(said: Mapping[str, Any]) -> bool:
        return any(each.startswith(part) for each in said["troubles"])

    waits = (until_said(scene.house.stages[name], trouble, NOTICED_WITHIN) for name in names)
    scene.note("noticed after s", max(await asyncio.gather(*waits)))


async def still_down(scene: Scene[Any], names: Iterable[str], seconds: float) -> None:
    """For so long, look whether one of these stages calls itself ready again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for name in names:
            said = await readiness(scene.house.stages[name])
            if said is not None and said["ready"]:
                scene.run.trouble.append(f"{name} called itself ready while it could not be")
                return
        await asyncio.sleep(0.2)


async def well_again(scene: Scene[Any]) -> None:
    """Return once every stage says that it is ready."""

    def ready(said: Mapping[str, Any]) -> bool:
        return bool(said["ready"])

    waits = (until_said(stage, ready, READY_WITHIN) for stage in scene.house.stages.values())
    scene.note("ready again after s", max(await asyncio.gather(*waits)))
