"""Several Kafka nodes on one machine: each a broker and one vote of the controllers' quorum.

Knows how nodes find each other and what is kept on how many. Refuses to know topics.
"""

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.servers.kafka import KafkaServer
from infra.servers.process import HOST, free_port

NODES = 3
SMALL = "-Xmx256m"


@dataclass(frozen=True)
class Quorum:
    """What all nodes have to agree on; `controllers` maps a node's number to port and folder id."""

    cluster: str
    controllers: Mapping[int, tuple[int, str]]

    @property
    def addresses(self) -> str:
        return ",".join(f"{HOST}:{port}" for port, _ in self.controllers.values())

    @property
    def voters(self) -> str:
        return ",".join(f"{n}@{HOST}:{port}:{id_}" for n, (port, id_) in self.controllers.items())


class Node(KafkaServer):
    """One of several. It can be killed and started again as any server."""

    def __init__(self, folder: Path, number: int, quorum: Quorum) -> None:
        super().__init__(folder, {})
        self.number = number
        self._quorum = quorum
        self._controller_port = quorum.controllers[number][0]

    def _jvm(self) -> list[str]:
        return [SMALL if word.startswith("-Xmx") else word for word in super()._jvm()]

    def _founding(self) -> Sequence[str]:
        return ["--initial-controllers", self._quorum.voters, "-t", self._quorum.cluster]

    def _properties(self) -> str:
        several = {
            "node.id": self.number,
            "controller.quorum.bootstrap.servers": self._quorum.addresses,
            "default.replication.factor": NODES,
            "min.insync.replicas": NODES - 1,
            "offsets.topic.replication.factor": NODES,
            "transaction.state.log.replication.factor": NODES,
            "transaction.state.log.min.isr": NODES - 1,
            # The quorum elects anew within seconds, as is worth it where a node is really gone.
            "controller.quorum.election.timeout.ms": 1000,
            "controller.quorum.fetch.timeout.ms": 2000,
        }
        # Of a name that stands twice the later counts.
        return super()._properties() + "".join(f"{k}={v}\n" for k, v in several.items())


def nodes(folder: Path, count: int = NODES) -> list[Node]:
    """Nodes that know of each other, none started; start all before waiting for any."""
    controllers = {n: (free_port(), _id()) for n in range(1, count + 1)}
    quorum = Quorum(_id(), controllers)
    return [Node(folder / f"kafka-{n}", n, quorum) for n in controllers]


def _id() -> str:
    """An id as Kafka spells it; a dash at its start would be taken for an option."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
