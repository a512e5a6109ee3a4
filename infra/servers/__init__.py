"""The real servers: Apache Kafka, MinIO and PostgreSQL, found, built and run without containers.

    from infra.servers import kafka, minio, postgres

    with kafka(folder) as server:
        server.bootstrap            # "127.0.0.1:21043"
        server.kill()               # SIGKILL; then server.start() on the same port and data
        server.stop(); server.cont()  # freeze and thaw (SIGSTOP, SIGCONT)
        server.restart()            # a clean stop, then start

Each call starts one server of its own on free ports of the loopback address, waits until the
server itself answers, and leaves nothing running behind, even when this process is killed.
What is missing is built once into the user's cache folder (`python -m infra.servers`).
It knows nothing of topics, buckets or tables.
"""

from infra.servers.errors import ServerFailed, ToolMissing
from infra.servers.kafka import KafkaServer, kafka
from infra.servers.kafka import prepare as kafka_jars
from infra.servers.minio import MinioServer, minio
from infra.servers.minio import prepare as minio_program
from infra.servers.postgres import PostgresServer, postgres
from infra.servers.postgres import prepare as postgres_programs

__all__ = [
    "KafkaServer",
    "MinioServer",
    "PostgresServer",
    "ServerFailed",
    "ToolMissing",
    "kafka",
    "kafka_jars",
    "minio",
    "minio_program",
    "postgres",
    "postgres_programs",
]
