"""Apache Kafka, one node, KRaft: jars from Maven, the JVM started directly.

Two listeners for clients: plain text, and SASL over TLS (SCRAM and PLAIN, certificate from an
authority made on the spot). Whoever comes in plain text is a super user, as the tests and the
local cluster are; whoever comes over TLS is the user of that name, and needs ACLs unless `admin`.
"""

import os
import re
import shutil
import socket
import struct
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.servers.cache import build_once
from infra.servers.errors import ServerFailed, ToolMissing
from infra.servers.process import HOST, Server, find_program, free_port

VERSION = "4.3.1"
CACHED = f"kafka-{VERSION}"
POM = Path(__file__).with_name("kafka-pom.xml")
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
JAVA = 17
ADMIN = "admin"
PASSWORD = "voxrelay-test"  # of servers that live on the loopback address of one machine
JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN")
# Longer than the longest retention of a topic, or a stage that slept would lose its place.
OFFSETS_RETENTION_MINUTES = 400 * 24 * 60


def prepare() -> Path:
    """The folder of jars, fetched by Maven if it is not cached. Raises `ToolMissing`."""
    return build_once(CACHED, _copy_jars) / "libs"


def _copy_jars(folder: Path) -> None:
    maven = find_program("mvn")
    if maven is None:
        raise ToolMissing("Kafka: Maven (mvn) is not installed")
    pom = folder / "pom.xml"
    shutil.copy(POM, pom)
    command = [str(maven), "-q", "-B", "-C", "-f", str(pom), COPY]
    done = subprocess.run(
        [*command, "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'libs'}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ServerFailed(f"Maven could not fetch Kafka\n{done.stdout[-2000:]}{done.stderr}")


def find_java() -> Path:
    """A Java of at least the version Kafka 4 needs. Raises `ToolMissing`."""
    homes = [Path(home) for home in [os.environ.get("JAVA_HOME")] if home]
    homes += sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)
    first = find_program("java")
    candidates = ([first] if first else []) + [home / "bin" / "java" for home in homes]
    for java in candidates:
        if os.access(java, os.X_OK) and _java_version(java) >= JAVA:
            return java
    raise ToolMissing(f"Kafka: Java {JAVA} or later is not installed")


def _java_version(java: Path) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found.group(1)) if found else 0


class KafkaServer(Server):
    """A broker of its own. `users` maps names to passwords for the SASL listener."""

    name = "kafka"

    def __init__(self, folder: Path, users: Mapping[str, str], port: int | None = None) -> None:
        # Its quorum remembers its own address, so a folder keeps its ports.
        kept = _kept_ports(folder / "server.properties")
        super().__init__(folder, port or kept.get("PLAINTEXT"))
        self.secure_port = kept.get("SECURE") or free_port()
        self._controller_port = kept.get("CONTROLLER") or free_port()
        self.users = {ADMIN: PASSWORD, **users}
        self.username, self.password = ADMIN, PASSWORD
        self._java, self._libs = find_java(), prepare()

    @property
    def bootstrap(self) -> str:
        """Plain text, `host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def secure_bootstrap(self) -> str:
        """SASL_SSL (SCRAM-SHA-256, SCRAM-SHA-512, PLAIN), `host:port`; trust `ca_file`."""
        return f"localhost:{self.secure_port}"

    @property
    def ca_file(self) -> Path:
        return self.folder / "certificates" / "ca.pem"

    def prepare(self) -> None:
        super().prepare()
        properties = self.folder / "server.properties"
        unfinished = properties.with_suffix(".new")
        unfinished.write_text(self._properties())
        if not properties.exists():
            # Certificates need a package that preparing the jars does not.
            from infra.servers.certificates import make_certificates

            make_certificates(self.folder / "certificates")
            self._format(unfinished)
        unfinished.rename(properties)

    def command(self) -> Sequence[str]:
        return [*self._jvm(), "kafka.Kafka", str(self.folder / "server.properties")]

    def answers(self) -> bool:
        try:
            return _brokers(HOST, self.port) > 0
        except OSError:
            return False

    def _jvm(self) -> list[str]:
        return [str(self._java), *JVM, "-cp", f"{self._libs}/*"]

    def _format(self, properties: Path) -> None:
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        tool = [*self._jvm(), "kafka.tools.StorageTool"]
        scram = [
            f"--add-scram={kind}=[name={name},password={password}]"
            for name, password in self.users.items()
            for kind in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        done = subprocess.run(
            [*tool, "format", *self._founding(), "-c", str(properties), *scram],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ServerFailed(f"Kafka could not lay out its data\n{done.stdout}{done.stderr}")

    def _founding(self) -> Sequence[str]:
        """What the data is laid out as: the first and only node of a new cluster."""
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        return ["--standalone", "-t", cluster]

    def _properties(self) -> str:
        listeners = {
            "PLAINTEXT": f"{HOST}:{self.port}",
            "SECURE": f"localhost:{self.secure_port}",
            "CONTROLLER": f"{HOST}:{self._controller_port}",
        }
        spelled = ",".join(f"{name}://{address}" for name, address in listeners.items())
        values = {
            **_SINGLE_NODE,
            "log.dirs": str(self.folder / "data"),
            "controller.quorum.bootstrap.servers": listeners["CONTROLLER"],
            "listeners": spelled,
            "advertised.listeners": spelled,
            **self._secure_listener(),
        }
        return "".join(f"{name}={value}\n" for name, value in values.items())

    def _secure_listener(self) -> Mapping[str, str]:
        users = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        modules = "org.apache.kafka.common.security"
        scram = f"{modules}.scram.ScramLoginModule required;"
        listener = "listener.name.secure"
        return {
            f"{listener}.ssl.keystore.type": "PEM",
            f"{listener}.ssl.keystore.location": str(self.folder / "certificates" / "server.pem"),
            f"{listener}.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN",
            f"{listener}.scram-sha-256.sasl.jaas.config": scram,
            f"{listener}.scram-sha-512.sasl.jaas.config": scram,
            f"{listener}.plain.sasl.jaas.config": (
                f"{modules}.plain.PlainLoginModule required {users};"
            ),
        }


_SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": ("PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL"),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": f"User:ANONYMOUS;User:{ADMIN}",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    # A coordinator reads all of it before it answers, and tells too little where its lead changes
    # meanwhile (docs/reliability.md): a segment that is not full is not compacted, so: small ones.
    "offsets.topic.segment.bytes": "1048576",
    "transaction.state.log.segment.bytes": "1048576",
    "offsets.retention.minutes": str(OFFSETS_RETENTION_MINUTES),
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A killed broker cannot register again before its old session has run out.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "log.cleaner.dedupe.buffer.size": "4194304",
}


def _kept_ports(properties: Path) -> dict[str, int]:
    """Port of each listener as it was when the data was laid out; empty before that."""
    if not properties.exists():
        return {}
    found = re.findall(r"(\w+)://[\w.]+:(\d+)", properties.read_text())
    return {listener: int(port) for listener, port in found}


def _brokers(host: str, port: int, wait_s: float = 2.0) -> int:
    """How many brokers a Metadata request (version 1, no topics) is answered with."""
    client = b"\x00\x05probe"
    request = struct.pack(">hhi", 3, 1, 7) + client + struct.pack(">i", 0)
    with socket.create_connection((host, port), wait_s) as line:
        line.sendall(struct.pack(">i", len(request)) + request)
        size, _correlation, brokers = struct.unpack(">iii", _exactly(line, 12))
        _exactly(line, size - 8)
        return int(brokers)


def _exactly(line: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        more = line.recv(count - len(got))
        if not more:
            raise ConnectionError("the broker closed the line")
        got += more
    return got


def kafka(
    folder: Path, *, users: Mapping[str, str] | None = None, port: int | None = None
) -> KafkaServer:
    """A broker with its data in `folder`; use with `with`. Raises `ToolMissing`."""
    return KafkaServer(Path(folder), users or {}, port)
