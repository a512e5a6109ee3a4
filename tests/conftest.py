"""What every test may ask for."""

from tests.ear import ear
from tests.lived import lived, lived_on_kafka
from tests.servers import (
    _own_kafka,
    database,
    kafka_server,
    postgres_server,
    s3_server,
    secure_kafka_server,
    secure_s3_server,
)
from tests.sql import sql, sql_settings, tables
from tests.workers import pytest_xdist_make_scheduler

__all__ = [
    "_own_kafka",
    "database",
    "ear",
    "kafka_server",
    "lived",
    "lived_on_kafka",
    "postgres_server",
    "pytest_xdist_make_scheduler",
    "s3_server",
    "secure_kafka_server",
    "secure_s3_server",
    "sql",
    "sql_settings",
    "tables",
]
