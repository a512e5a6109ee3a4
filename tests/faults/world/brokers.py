"""Three brokers, every record on two of them at least: leaders die, and majorities.

Knows who leads what. Refuses to know what a leader does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from infra.local import Cluster
from infra.servers.process import Server
from infra.servers.quorum import Node, nodes
from tests.faults.house import House, standing
from tests.faults.world.scenario import Scenario, Scene, noticed, still_down, well_again

LED = ("prompt-uploaded", "__transaction_state", "__consumer_offsets", "speech-synthesized")
"""Partition 0 of each: whoever leads it is killed, one after another."""


@dataclass(frozen=True)
class BrokersHouse(House):
    """A relay on several brokers."""

    brokers: Sequence[Node]

    @property
    def bootstrap(self) -> str:
        """All of them, since any may be gone."""
        return ",".join(broker.bootstrap for broker in self.brokers)


@contextmanager
def three(folder: Path) -> Iterator[BrokersHouse]:
    """The relay on three brokers; MinIO and PostgreSQL are one each."""
    made, brokers = Cluster(folder), nodes(folder)
    servers: Mapping[str, Server] = {
        **{f"kafka-{broker.number}": broker for broker in brokers},
        "s3": made.s3,
        "postgres": made.postgres,
    }
    given = {
        **made.environment(),
        "VOXRELAY_LOG": "kafka://" + ",".join(broker.bootstrap for broker in brokers),
        "VOXRELAY_KAFKA_REPLICATION": str(len(brokers)),
    }
    with standing(folder, servers, given) as stands:
        yield BrokersHouse(stands.stages, servers, stands.settings, stands.arms, brokers)


async def leaders(scene: Scene[BrokersHouse]) -> None:
    """Kill who leads: a topic's partition, a coordinator of transactions, one of groups."""
    draw, deaths = random.Random(scene.run.seed), 0
    await scene.jobs()
    until = asyncio.get_running_loop().time() + scene.seconds
    while asyncio.get_running_loop().time() < until:
        topic = LED[deaths % len(LED)]
        broker = await leader_of(scene.house, topic)
        scene.tell(f"kills broker {broker.number}, which leads {topic}/0")
        broker.kill()
        deaths += 1
        await asyncio.sleep(draw.uniform(0, 6))
        broker.launch()
        await asyncio.to_thread(broker.wait_ready)
        await scene.jobs(2)
    scene.run.kills = deaths
    scene.note("leaders killed", deaths)


async def alone(scene: Scene[BrokersHouse]) -> None:
    """Two of three are gone: nothing is taken any more, and who has work says so; then all goes on.

    A stage without work cannot know: the broker that is left answers what it last heard.
    """
    await scene.jobs()
    dead = scene.house.brokers[:2]
    for broker in dead:
        broker.kill()
    await scene.jobs()  # they wait in the outbox: without work it cannot know
    await noticed(scene, ["ingest"], "outbox")
    await still_down(scene, ["ingest"], scene.seconds)
    for broker in dead:
        broker.launch()
    for broker in dead:
        await asyncio.to_thread(broker.wait_ready)
    await well_again(scene)


async def leader_of(house: BrokersHouse, topic: str) -> Node:
    """The broker that leads partition 0 of `topic`."""
    async with admin_of(house.bootstrap) as admin:
        (told,) = await admin.describe_topics([topic])
    number = next(each["leader"] for each in told["partitions"] if each["partition"] == 0)
    return next(broker for broker in house.brokers if broker.number == number)


@asynccontextmanager
async def admin_of(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for questions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


SCENARIOS: Mapping[str, Scenario[BrokersHouse]] = {
    "leaders": Scenario(three, leaders, 120, "of three brokers whoever leads is killed"),
    "alone": Scenario(three, alone, 60, "of three brokers two are gone"),
}
