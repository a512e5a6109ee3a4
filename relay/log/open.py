"""The log that the settings name."""

from __future__ import annotations

from collections.abc import Collection

from relay.log.marks import Marks
from relay.log.port import Log
from relay.settings import Settings


def open_log(settings: Settings, marks: Marks | None = None, begin: Collection[str] = ()) -> Log:
    """The embedded log, or Kafka; nothing is opened before the first call on it.

    Who commits through it, or applies topics, gives the `marks` by which Kafka is not believed
    blindly; the embedded log is one file, and needs none. `begin` are groups that `apply` may send
    to the first record of a topic.
    """
    if settings.embedded:
        from relay.log.sqlite import SqliteLog

        return SqliteLog(settings.data / "log.db")
    from relay.log.kafka import KafkaLog  # imports a client that the embedded relay never needs

    return KafkaLog(settings, marks=marks, begin=begin)
