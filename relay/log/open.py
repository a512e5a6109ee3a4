"""The log that the settings name."""

from __future__ import annotations

from relay.log.port import Log
from relay.settings import Settings


def open_log(settings: Settings) -> Log:
    """The embedded log, or Kafka; nothing is opened before the first call on it."""
    if settings.embedded:
        from relay.log.sqlite import SqliteLog

        return SqliteLog(settings.data / "log.db")
    from relay.log.kafka import KafkaLog  # imports a client that the embedded relay never needs

    return KafkaLog(settings)
