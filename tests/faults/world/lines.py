"""Bad lines: between the stages and Kafka, MinIO and PostgreSQL.

Knows which line is hurt how, and what has to be said of it by whom. Refuses to know jobs.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local import Cluster
from infra.servers.kafka import KafkaServer
from infra.servers.process import HOST, Server, free_port
from tests.faults.house import House, standing
from tests.faults.world.line import Line, Lines
from tests.faults.world.scenario import Scenario, Scene, noticed, still_down, well_again


@dataclass(frozen=True)
class WiredHouse(House):
    """A relay that reaches each of its servers by a line."""

    lines: Mapping[str, Line]


class FarKafka(KafkaServer):
    """Tells clients who come by the port `door` that it lives at `line`, where they come from."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {})
        self.door, self.line = free_port(), free_port()

    def _properties(self) -> str:
        told = dict(row.split("=", 1) for row in super()._properties().splitlines())
        told["listeners"] += f",FAR://{HOST}:{self.door}"
        told["advertised.listeners"] += f",FAR://{HOST}:{self.line}"
        told["listener.security.protocol.map"] += ",FAR:PLAINTEXT"
        return "".join(f"{name}={value}\n" for name, value in told.items())


@contextmanager
def wired(folder: Path) -> Iterator[WiredHouse]:
    """The relay on real servers, all of them at the end of a line."""
    made, broker = Cluster(folder), FarKafka(folder / "kafka")
    servers: Mapping[str, Server] = {"kafka": broker, "s3": made.s3, "postgres": made.postgres}
    with Lines() as lines:
        far = {
            "kafka": lines.to(broker.door, broker.line),
            "s3": lines.to(made.s3.port),
            "postgres": lines.to(made.postgres.port),
        }
        given = {
            **made.environment(),
            "VOXRELAY_LOG": f"kafka://{HOST}:{far['kafka'].port}",
            "VOXRELAY_S3_ENDPOINT": f"http://{HOST}:{far['s3'].port}",
            "VOXRELAY_SQL": made.postgres.url.replace(
                f":{made.postgres.port}/", f":{far['postgres'].port}/"
            ),
        }
        with standing(folder, servers, given) as stands:
            yield WiredHouse(stands.stages, stands.servers, stands.settings, stands.arms, far)


async def slow(scene: Scene[WiredHouse]) -> None:
    """An answer takes 200 to 300 ms longer, on every line."""
    _hold_up(scene.house, 0.1, 0.05)
    await asyncio.sleep(scene.seconds)
    _hold_up(scene.house, 0, 0)


async def resets(scene: Scene[WiredHouse]) -> None:
    """Connections are reset in mid-stream, at random, several a second."""
    draw = random.Random(scene.run.seed)
    names = sorted(scene.house.lines)
    async with asyncio.timeout(scene.seconds + 30):
        cuts = max(1, round(scene.seconds / 0.3))
        for _ in range(cuts):
            scene.house.lines[draw.choice(names)].reset(draw)
            await asyncio.sleep(draw.uniform(0, 0.6))
    scene.note("resets", cuts)


def deaf(name: str) -> Scenario[WiredHouse]:
    """The line to one server says nothing more; what was open then never does again."""

    async def act(scene: Scene[WiredHouse]) -> None:
        line = scene.house.lines[name]
        await _without(scene, name, line.deafen, line.mend)

    return Scenario(wired, act, 60, f"the line to {name} swallows everything")


def gone(name: str) -> Scenario[WiredHouse]:
    """One server is not there at all."""

    async def act(scene: Scene[WiredHouse]) -> None:
        line = scene.house.lines[name]
        await _without(scene, name, line.close, line.open)

    return Scenario(wired, act, 60, f"{name} is gone")


async def _without(
    scene: Scene[WiredHouse], name: str, cut: Callable[[], None], mend: Callable[[], None]
) -> None:
    """Every stage notices the log's absence; of store and database those with work do."""
    await scene.jobs()
    begun = asyncio.get_running_loop().time()
    cut()
    concerned = scene.house.stages if name == "kafka" else ["ingest"]
    await noticed(scene, concerned)
    await still_down(scene, concerned, begun + scene.seconds - asyncio.get_running_loop().time())
    mend()
    await well_again(scene)


def _hold_up(house: WiredHouse, delay: float, jitter: float) -> None:
    for line in house.lines.values():
        line.delay, line.jitter = delay, jitter


SCENARIOS: Mapping[str, Scenario[WiredHouse]] = {
    "slow": Scenario(wired, slow, 60, "every answer takes 200 to 300 ms longer"),
    "resets": Scenario(wired, resets, 60, "connections are reset in mid-stream"),
    **{f"{name}-gone": gone(name) for name in ("kafka", "s3", "postgres")},
    **{f"{name}-deaf": deaf(name) for name in ("kafka", "s3", "postgres")},
}
