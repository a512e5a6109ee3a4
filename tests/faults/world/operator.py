"""What an operator does to Kafka, and what Kafka forgets by itself.

Knows commands, and settings of a broker that make days into seconds. Refuses to know jobs.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from aiokafka.admin import NewPartitions
from aiokafka.structs import TopicPartition

from infra.local import PARTITIONS, Cluster
from infra.servers.kafka import KafkaServer
from infra.servers.process import Server
from infra.topics import groups, sources
from relay.log.kafka import Timing
from relay.log.kafka.link import Link
from relay.log.kafka.setup import POSITION, position_group
from relay.log.open import open_log
from relay.log.port import Committed
from schemas.topics import TOPICS
from tests.faults.attendant import OF_OLD
from tests.faults.house import House, standing
from tests.faults.world.brokers import admin_of
from tests.faults.world.scenario import Scenario, Scene, well_again
from tests.relay.kafka_mortal import ForgetfulKafka
from tests.sql import until

MORE = PARTITIONS + 2
EXPIRED_WITHIN, REFUSED_WITHIN = 300.0, 120.0


class ForgetsOffsets(KafkaServer):
    """Drops the offsets of a group at rest after three minutes: a house takes one to stand."""

    def _properties(self) -> str:
        return super()._properties() + (
            "offsets.retention.minutes=3\noffsets.retention.check.interval.ms=1000\n"
        )


def on(make: type[KafkaServer]) -> Callable[[Path], AbstractContextManager[House]]:
    """Opens the relay on a broker of that make."""

    @contextmanager
    def opened(folder: Path) -> Iterator[House]:
        made, broker = Cluster(folder), make(folder / "kafka", {})
        servers: Mapping[str, Server] = {"kafka": broker, "s3": made.s3, "postgres": made.postgres}
        given = {**made.environment(), "VOXRELAY_LOG": f"kafka://{broker.bootstrap}"}
        with standing(folder, servers, given) as stands:
            yield stands

    return opened


async def widened(scene: Scene[House]) -> None:
    """`voxrelay topics apply` with more partitions, while jobs come: nobody has to stop."""
    await scene.jobs()
    alive = {name: stage.pid for name, stage in scene.house.stages.items()}
    begun = asyncio.get_running_loop().time()
    await asyncio.to_thread(apply, scene.house, MORE)
    scene.note("applied after s", asyncio.get_running_loop().time() - begun)
    await _reached(scene, MORE)
    if {name: stage.pid for name, stage in scene.house.stages.items() if stage.running} != alive:
        scene.run.trouble.append("a stage ended when partitions were added")


async def widened_alone(scene: Scene[House]) -> None:
    """Partitions added past `voxrelay`: stages stop and say what to do; that done, all goes on."""
    await scene.jobs()
    async with admin_of(scene.house.settings.log.removeprefix("kafka://")) as admin:
        await admin.create_partitions({topic.name: NewPartitions(MORE) for topic in TOPICS})
    await _all_refuse(scene, REFUSED_WITHIN)
    await asyncio.to_thread(apply, scene.house, MORE)
    for stage in scene.house.stages.values():
        if not stage.running:
            stage.launch()
    await well_again(scene)
    await _reached(scene, MORE)


async def forgotten(scene: Scene[House]) -> None:
    """The broker forgets producers idle for two seconds, as most are most of the time."""
    for _ in range(max(1, round(scene.seconds / 10))):
        await scene.jobs()
        for stage in scene.house.stages.values():
            stage.stop()
        await asyncio.sleep(4)  # the broker tells nobody that it forgets
        for stage in scene.house.stages.values():
            stage.cont()
    await well_again(scene)


async def expired(scene: Scene[House]) -> None:
    """All rest until their offsets are dropped: they wait, `apply` refuses, `restore` mends it."""
    await scene.jobs(6)
    for name in ("ingest", "moderation", "synth", "delivery"):
        scene.house.stages[name].close()
    marks = await _marks(scene.house)
    await until(lambda: _dropped(scene.house), EXPIRED_WITHIN)
    for stage in scene.house.stages.values():
        stage.launch()
    await _all_wait(scene, REFUSED_WITHIN)
    told = await asyncio.to_thread(apply, scene.house, PARTITIONS, False)
    if OF_OLD not in told:
        scene.run.trouble.append(f"`topics apply` did not refuse to begin anew: {told}")
    for stage in scene.house.stages.values():
        stage.close()
    await asyncio.to_thread(operate, scene.house, "restore")
    await asyncio.to_thread(apply, scene.house, PARTITIONS)
    if _offsets(await _marks(scene.house)) != _offsets(marks):
        scene.run.trouble.append("`topics restore` has not put back what there was")
    for stage in scene.house.stages.values():
        stage.launch()
    await well_again(scene)
    await scene.jobs()


def apply(house: House, partitions: int, well: bool = True) -> str:
    """`voxrelay topics apply`, as an operator runs it; what it said."""
    return operate(house, "apply", partitions, well)


def operate(house: House, what: str, partitions: int = PARTITIONS, well: bool = True) -> str:
    """A command of `voxrelay topics`; what it said."""
    given = dict(house.stages["ingest"].environment())
    done = subprocess.run(
        [sys.executable, "-m", "voxrelay", "topics", what],
        env={**os.environ, **given, "VOXRELAY_PARTITIONS": str(partitions)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) == well, done.stderr
    return done.stdout + done.stderr


async def _all_refuse(scene: Scene[House], within: float) -> None:
    """Every stage ends by itself and says what to do."""
    stages = scene.house.stages
    await until(lambda: not any(stage.running for stage in stages.values()), within)
    for name in stages:
        if "voxrelay topics apply" not in stages[name].log_tail(3):
            scene.run.trouble.append(f"{name} did not say why: {stages[name].log_tail(3)}")


async def _all_wait(scene: Scene[House], within: float) -> None:
    """Every stage says that it does not believe the broker, and none ends."""
    stages = scene.house.stages
    await until(lambda: all(OF_OLD in stage.log_tail() for stage in stages.values()), within)
    if ended := [name for name, stage in stages.items() if not stage.running]:
        scene.run.trouble.append(f"ended instead of waiting: {ended}")


async def _reached(scene: Scene[House], partitions: int) -> None:
    """Jobs come until some have gone through each of the partitions added."""
    found = Counter[int]()
    async with asyncio.timeout(scene.seconds + 60):
        while not all(found[n] for n in range(PARTITIONS, partitions)):
            await scene.jobs(4)
            log = open_log(scene.house.settings)
            try:
                found = Counter([r.partition async for r in log.read(["speech-delivered"])])
            finally:
                await log.close()
    scene.note("records in partitions added", sum(found[n] for n in range(PARTITIONS, partitions)))


Marks = dict[str, dict[TopicPartition, Committed | None]]
"""By group, what it has committed."""


async def _marks(house: House) -> Marks:
    link = Link.of(house.settings, Timing())
    try:
        found: Marks = {
            group: await link.offsets.of(group, await link.partitions(topics))
            for group, topics in groups().items()
        }
        for source in sources():
            group = position_group(source)
            found[group] = await link.offsets.of(group, [POSITION])
    finally:
        await link.close()
    return found


async def _dropped(house: House) -> bool:
    """Whether no group has an offset any more."""
    marks = await _marks(house)
    return not any(mark for places in marks.values() for mark in places.values())


def _offsets(marks: Marks) -> dict[str, dict[TopicPartition, int]]:
    """What of `marks` is worth putting back: who is at 0 has nothing to repeat."""
    return {
        group: {place: mark.offset for place, mark in places.items() if mark and mark.offset}
        for group, places in marks.items()
    }


SCENARIOS: Mapping[str, Scenario[House]] = {
    "widened": Scenario(on(KafkaServer), widened, 60, "partitions are added, under load"),
    "widened-alone": Scenario(
        on(KafkaServer), widened_alone, 60, "partitions are added without their offsets"
    ),
    "forgotten": Scenario(on(ForgetfulKafka), forgotten, 60, "producer ids are forgotten"),
    "expired": Scenario(on(ForgetsOffsets), expired, 60, "committed offsets are dropped"),
}
