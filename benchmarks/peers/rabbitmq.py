"""RabbitMQ as Debian packages it: a node of its own in a folder, on the loopback address.

Knows how the broker and its port mapper are started. Refuses to know who uses it.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.servers import ToolMissing
from infra.servers.process import HOST, Server, find_program, free_port

_GREETING = b"AMQP\x00\x00\x09\x01"
_PACKAGED = Path("/usr/lib/rabbitmq/lib")


class PortMapper(Server):
    """Erlang's epmd, held by us: started by the broker it would outlive everything."""

    name = "epmd"

    def command(self) -> Sequence[str]:
        return [_there(find_program("epmd")), "-address", HOST, "-port", str(self.port)]

    def answers(self) -> bool:
        return _connects(self.port, b"")


class RabbitMq(Server):
    """One node; `url` is what a client connects to."""

    name = "rabbitmq"

    def __init__(self, folder: Path, mapper: PortMapper) -> None:
        super().__init__(folder, None)
        self._mapper = mapper
        self._between_nodes = free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}//"

    def command(self) -> Sequence[str]:
        # Not the wrapper on PATH, which becomes the user of the packaged node.
        found = sorted(_PACKAGED.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
        return [_there(found[-1] if found else None)]

    def environment(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.folder),
            "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes the broker: no shell between us
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._mapper.port),
            "RABBITMQ_NODENAME": f"bench{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._between_nodes),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
        }

    def answers(self) -> bool:
        return _connects(self.port, _GREETING)


def _there(program: Path | None) -> str:
    if program is None:
        raise ToolMissing("RabbitMQ: install Debian's rabbitmq-server")
    return str(program)


def _connects(port: int, greeting: bytes) -> bool:
    """Whether somebody listens there, and answers where a greeting is due."""
    try:
        with socket.create_connection((HOST, port), 2) as line:
            line.sendall(greeting)
            return not greeting or bool(line.recv(1))
    except OSError:
        return False
